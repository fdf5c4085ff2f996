"""Sequences that a model goes on with, one token at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.arguments import shown
from gpunet.engine.generation import Generator
from gpunet.errors import ArgumentError
from gpunet.losses.base import final_activation
from gpunet.text import beam_search, sample

if TYPE_CHECKING:
    from gpunet.models.model import Model

Numbers = np.ndarray[Any, Any]


def generate(
    model: Model,
    prompts: Any,
    max_length: int | None,
    end: int | None,
    beams: int,
    length_penalty: float,
    inputs: Mapping[str, Any] | None,
    choice: dict[str, Any],
) -> Any:
    """Go on with one prompt or several; see `Model.generate`."""
    is_one = np.ndim(prompts[0]) == 0 if isinstance(prompts, list | tuple) and prompts else False
    sequences = _checked_prompts([prompts] if is_one else prompts)
    others = dict(inputs or {})
    if beams == 1:
        results = _one_by_one(model, sequences, max_length, end, others, choice)
    else:
        results = []
        for number, prompt in enumerate(sequences):
            own = {name: np.repeat(x[number : number + 1], beams, 0) for name, x in others.items()}
            generator = Generator(model, beams, max_length, own)
            results.append(_beams(generator, prompt, end, beams, length_penalty))
    return results[0] if is_one else results


def _one_by_one(
    model: Model,
    prompts: list[list[int]],
    max_length: int | None,
    end: int | None,
    inputs: dict[str, Any],
    choice: dict[str, Any],
) -> list[list[int]]:
    """All prompts together: where one is still to be read its own token comes next."""
    generator = Generator(model, len(prompts), max_length, inputs)
    _check_lengths(prompts, generator.capacity)
    sequences = [prompt[: min(map(len, prompts))] for prompt in prompts]
    done, added = [False] * len(prompts), np.array(sequences)
    while True:
        logits = _logits(model, generator.extend(added)[:, -1])
        tokens = sample(logits, **choice)
        for row, (prompt, sequence) in enumerate(zip(prompts, sequences, strict=True)):
            is_read = len(sequence) >= len(prompt)
            if not is_read:
                tokens[row] = prompt[len(sequence)]
            if not done[row]:
                sequence.append(int(tokens[row]))
                done[row] = is_read and sequence[-1] == end
        if all(done) or generator.position + 1 >= generator.capacity:
            return sequences
        added = tokens[:, None]


def _beams(
    generator: Generator, prompt: list[int], end: int | None, beams: int, length_penalty: float
) -> list[int]:
    """The likeliest continuation of one prompt."""
    _check_lengths([prompt], generator.capacity)
    steps = generator.capacity - len(prompt)
    last = -1 if end is None else end
    found = beam_search(_step_of(generator), prompt, last, steps, beams, length_penalty)
    return found[0].tokens


def _step_of(generator: Generator) -> Callable[[Numbers], Numbers]:
    """What `beam_search` calls: the generator's rows follow the hypotheses."""
    before: list[list[int]] = []

    def step(ids: Numbers) -> Numbers:
        alive = len(ids)
        if before:
            parents = [before.index(sequence) for sequence in ids[:, :-1].tolist()]
            generator.reorder(parents + [0] * (generator.rows - alive))
        new = ids[:, -1:] if before else ids
        before[:] = ids.tolist()
        padded = np.concatenate([new, np.repeat(new[:1], generator.rows - alive, 0)])
        return _logits(generator.model, generator.extend(padded)[:alive, -1])

    return step


def _logits(model: Model, y: Numbers) -> Numbers:
    """The model's last output as logits; the logarithm where it ends with a softmax."""
    if final_activation(model.last_layer()) == "softmax":
        return np.asarray(np.log(np.maximum(y, np.finfo(y.dtype).tiny)))
    return y


def _checked_prompts(prompts: Any) -> list[list[int]]:
    """Lists of token numbers.

    Raises:
        ArgumentError: something else, or an empty one.
    """
    listed = list(prompts) if isinstance(prompts, Sequence | np.ndarray) else []
    arrays = [np.asarray(prompt) for prompt in listed if not isinstance(prompt, str)]
    fine = [a.ndim == 1 and a.size > 0 and a.dtype.kind in "iu" for a in arrays]
    if not arrays or len(arrays) != len(listed) or not all(fine):
        raise ArgumentError(
            "generate takes a prompt of one or more token numbers, or a list of prompts, got "
            f"{shown(prompts)}."
        )
    return [[int(token) for token in array] for array in arrays]


def _check_lengths(prompts: list[list[int]], capacity: int) -> None:
    longest = max(map(len, prompts))
    if longest >= capacity:
        raise ArgumentError(
            f"a prompt of {longest} tokens leaves no room for others, as the model and max_length "
            f"allow {capacity}; cut it at its beginning."
        )
