"""Choosing the next token from a model's logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpunet import random
from gpunet.errors import ArgumentError, ShapeError

Logits = np.ndarray[Any, Any]
Ids = np.ndarray[Any, Any]


def greedy(logits: Any) -> Ids:
    """The likeliest token of each row.

    Args:
        logits: (..., tokens).

    Returns:
        Token numbers (...).

    >>> greedy([[0.1, 2.0, 1.0]])
    array([1])
    """
    return np.asarray(_checked(logits).argmax(axis=-1))


def sample(
    logits: Any,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | np.random.Generator | None = None,
) -> Ids:
    """A token of each row, drawn with probability softmax(logits / temperature).

    top_k keeps the k likeliest tokens; top_p of what is left the fewest likeliest ones whose
    probabilities add up to at least p (nucleus sampling: Holtzman et al., "The curious case of
    neural text degeneration", 2020).

    Args:
        logits: (..., tokens).
        temperature: below 1 favours likely tokens; 0 takes the likeliest.
        top_k: how many tokens may be chosen, at least 1.
        top_p: in (0, 1].
        seed: an integer or a NumPy generator; None follows `gpunet.utils.set_random_seed`.

    Returns:
        Token numbers (...).

    Raises:
        ArgumentError: an argument out of its range, or logits with NaN or nothing to choose.

    >>> sample([[0.0, 5.0, 4.0]] * 6, top_k=2, seed=1)
    array([1, 1, 1, 1, 1, 1])
    """
    values = _checked(logits)
    if not temperature >= 0:
        raise ArgumentError(f"temperature of sample must be at least 0, got {temperature!r}.")
    if top_k is not None and top_k < 1:
        raise ArgumentError(f"top_k of sample must be at least 1, got {top_k!r}.")
    if top_p is not None and not 0 < top_p <= 1:
        raise ArgumentError(f"top_p of sample must lie in (0, 1], got {top_p!r}.")
    if temperature == 0:
        return greedy(values)
    order = np.argsort(-values, axis=-1, kind="stable")  # (..., tokens), likeliest first
    p = np.exp(log_softmax(np.take_along_axis(values, order, -1) / temperature))
    if top_k is not None:
        p[..., top_k:] = 0.0
        p /= p.sum(axis=-1, keepdims=True)
    if top_p is not None:
        before = p.cumsum(axis=-1) - p
        p[before >= top_p] = 0.0
    if not isinstance(seed, np.random.Generator):
        seed = random.next_stream() if seed is None else random.seeded_stream(seed)
    upto = p.cumsum(axis=-1)
    draw = seed.random((*upto.shape[:-1], 1)) * upto[..., -1:]
    place = np.minimum((upto <= draw).sum(axis=-1), (p > 0).sum(axis=-1) - 1)
    return np.asarray(np.take_along_axis(order, place[..., None], -1)[..., 0])


class Hypothesis(NamedTuple):
    """One result of `beam_search`.

    Attributes:
        tokens: the sequence, from the start token on, with the end token if it got there.
        log_probability: the sum of the log-probabilities of what was added.
        score: what hypotheses are ranked by.
    """

    tokens: list[int]
    log_probability: float
    score: float


def beam_search(
    step: Callable[[Ids], Any],
    start: int | Sequence[int],
    end: int,
    max_length: int,
    beams: int = 4,
    length_penalty: float = 0.6,
) -> list[Hypothesis]:
    """The likeliest continuations, keeping the best few at each step.

    A hypothesis is ranked by log_probability / ((5 + added) / 6)^length_penalty (Wu et al.,
    "Google's neural machine translation system", 2016), so that short ones do not always win.

    Args:
        step: function of token numbers (hypotheses, length) that returns the logits of the next
            token, (hypotheses, tokens).
        start: the first token, or several.
        end: the token that ends a sequence.
        max_length: how many tokens to add at most.
        beams: how many hypotheses to keep.
        length_penalty: 0 for none.

    Returns:
        The best hypotheses, at most `beams`, the best first.

    Raises:
        ArgumentError: fewer than one beam or token.
        ShapeError: logits of another shape.

    >>> def step(ids):  # after 0 comes 1, after 1 the end, 2
    ...     return np.eye(3)[(ids[:, -1] + 1) % 3] * 9
    >>> beam_search(step, start=0, end=2, max_length=5, beams=2)[0].tokens
    [0, 1, 2]
    """
    if beams < 1 or max_length < 1:
        raise ArgumentError(
            f"beam_search needs at least one beam and one token to add, got {beams=} and "
            f"{max_length=}."
        )
    first = [start] if isinstance(start, int) else [int(token) for token in start]
    alive, finished = [Hypothesis(first, 0.0, 0.0)], list[Hypothesis]()
    for added in range(1, max_length + 1):
        ids = np.array([hypothesis.tokens for hypothesis in alive], np.int32)
        logits = _checked(step(ids))
        if logits.ndim != 2 or len(logits) != len(alive):
            raise ShapeError(
                f"step of beam_search must return logits ({len(alive)}, tokens), got "
                f"{logits.shape}."
            )
        totals = np.array([[h.log_probability] for h in alive]) + log_softmax(logits)
        best = np.argsort(-totals, axis=None, kind="stable")[: 2 * beams]
        scale = ((5 + added) / 6) ** length_penalty
        candidates = [
            Hypothesis([*alive[row].tokens, int(token)], total, total / scale)
            for row, token, total in (
                (*divmod(int(place), logits.shape[1]), float(totals.flat[place])) for place in best
            )
            if total > -np.inf
        ]
        finished += [h for h in candidates[:beams] if h.tokens[-1] == end]
        alive = [h for h in candidates if h.tokens[-1] != end][:beams]
        finished = sorted(finished, key=lambda h: -h.score)[:beams]
        # With a penalty a longer one may still win; its score can at best lose nothing more.
        reachable = max((h.log_probability for h in alive), default=-np.inf)
        limit = ((5 + max_length) / 6) ** max(length_penalty, 0.0)
        if not alive or (len(finished) == beams and finished[-1].score >= reachable / limit):
            break
    return sorted(finished + alive, key=lambda h: -h.score)[:beams]


def log_softmax(logits: Logits) -> Logits:
    """x - max - log(sum(exp(x - max))) along the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: Logits = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def _checked(logits: Any) -> Logits:
    values = np.asarray(logits, np.float64)
    if values.ndim == 0 or not values.shape[-1]:
        raise ShapeError(f"logits must be an array (..., tokens), got the shape {values.shape}.")
    if np.isnan(values).any() or not np.isfinite(values.max(axis=-1)).all():
        raise ArgumentError(
            "logits hold NaN, infinity, or a row of nothing but -infinity; look for a learning "
            "rate that is too high or a mask that hides every token."
        )
    return values
