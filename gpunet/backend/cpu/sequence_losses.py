"""CTC: the sum over all alignments of a sequence, in log space, for all samples at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gpunet.backend.cpu.activations import row_max
from gpunet.backend.cpu.blocks import ones, row_blocks
from gpunet.backend.spec import Array


def ctc(
    dx: Array | None,
    loss: Array,
    totals: Array,
    x: Array,
    labels: Array,
    sample_weight: Array | None,
    lengths: Array | None,
    label_lengths: Array | None,
    scratch: Array = None,
    *,
    scale: float,
    blank: int = 0,
) -> None:
    """loss = -log of the probability that a sample's steps spell its labels."""
    batch, steps, _ = x.shape
    log_sums = scratch[: batch * steps].reshape(batch, steps)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        _log_sums(log_sums, x)
        lattice = Lattice.of(x, labels, lengths, label_lengths, log_sums, blank)
        alphas = None
        if dx is not None:
            size = steps * batch * lattice.classes.shape[1]
            alphas = scratch[batch * steps :][:size].reshape(steps, *lattice.classes.shape)
        log_p = lattice.forward(alphas)
        possible = log_p != -np.inf
        weights = np.ones(batch) if sample_weight is None else sample_weight.astype(np.float64)
        values = np.where(lattice.valid, -log_p, np.nan)
        loss[:] = np.where((weights == 0.0) & ~possible & lattice.valid, 0.0, weights * values)
        if alphas is not None:
            lattice.add_betas(alphas)
            factors = np.where(lattice.valid, scale * weights, np.nan)
            lattice.gradient(dx, alphas, factors, possible | ~lattice.valid)
    totals[0] += scale * batch * loss.sum(dtype=np.float64)
    totals[1] += batch


def _log_sums(log_sums: Array, x: Array) -> None:
    """log_sums = log(sum(exp(x))) of each step."""
    rows = x.reshape(-1, x.shape[2])
    for block, sums in row_blocks(rows, log_sums.reshape(-1)):
        largest = row_max(block)
        shifted = block - largest[:, None]
        np.exp(shifted, out=shifted)
        np.log(np.dot(shifted, ones(shifted.shape[1], shifted)), out=sums)
        np.add(sums, largest, out=sums)


@dataclass
class Lattice:
    """The states of a batch: blank, label, blank, label, ..., blank for each sample.

    Attributes:
        x: the logits, (batch, steps, classes).
        log_sums: what to take off a step's logits to make them log-probabilities.
        classes: the class of each state, (batch, states).
        skips: whether a state may follow the one but one before it, (batch, states).
        lengths: how many steps each sample has.
        last: the number of each sample's last state.
        valid: whether a sample's labels and lengths are what they can be.
        blank: the class that says nothing.
    """

    x: Array
    log_sums: Array
    classes: Array
    skips: Array
    lengths: Array
    last: Array
    valid: Array
    blank: int

    @classmethod
    def of(
        cls,
        x: Array,
        labels: Array,
        lengths: Array | None,
        label_lengths: Array | None,
        log_sums: Array,
        blank: int,
    ) -> Lattice:
        """The states for these arguments of the op."""
        batch, steps, classes = x.shape
        length = labels.shape[1]
        own = (labels != blank).sum(axis=1) if label_lengths is None else label_lengths
        given = np.full(batch, steps) if lengths is None else lengths
        inside = np.arange(length) < own[:, None]
        wrong = inside & ((labels < 0) | (labels >= classes) | (labels == blank))
        valid = ~wrong.any(axis=1) & (own >= 0) & (own <= length)
        valid &= (given >= 0) & (given <= steps)
        states = np.full((batch, 2 * length + 1), blank, np.int64)
        states[:, 1::2] = np.where(inside & ~wrong, labels, blank)
        skips = np.zeros(states.shape, bool)
        skips[:, 1:2] = True  # from before the first step
        skips[:, 3::2] = labels[:, 1:] != labels[:, :-1]
        last = 2 * own.clip(0, length)
        return cls(x, log_sums, states, skips, given.clip(0, steps), last, valid, blank)

    def _emissions(self, order: range) -> Iterator[tuple[int, Array]]:
        """The log-probability of each state's class, (batch, states), step by step."""
        batch, steps, classes = self.x.shape
        starts = np.arange(batch)[:, None] * (steps * classes)
        index, flat = starts + self.classes, self.x.reshape(-1)
        for step in order:
            yield step, flat.take(index + step * classes) - self.log_sums[:, step, None]

    def forward(self, alphas: Array | None) -> Array:
        """log p of each sample; alphas (steps, batch, states) unless None, less a number a step."""
        batch, steps, _ = self.x.shape
        states = self.classes.shape[1]
        # Two states that nothing reaches, and before the first step the one in front of them all.
        before = np.full((batch, states + 2), -np.inf, self.x.dtype)
        before[:, 1] = 0.0
        after = np.full_like(before, -np.inf)
        scales = np.zeros(batch)
        for step, emission in self._emissions(range(steps)):
            now = after[:, 2:]
            skipped = np.where(self.skips, before[:, :-2], -np.inf)
            _log_add(now, before[:, 2:], before[:, 1:-1], skipped)
            now += emission
            largest = now.max(axis=1)
            shift = np.where(np.isfinite(largest), largest, 0.0)
            now -= shift[:, None]
            ended = step >= self.lengths
            if ended.any():
                after[ended] = before[ended]
                shift[ended] = 0.0
            scales += shift
            if alphas is not None:
                alphas[step] = now
            before, after = after, before
            after[:, 1] = -np.inf
        rows = np.arange(batch)
        # In front of the states of a sample without labels there is nothing but what lay there.
        ends = np.stack([before[rows, self.last + 2], before[rows, self.last + 1]])
        log_p: Array = np.logaddexp(*ends.astype(np.float64)) + scales
        return log_p

    def add_betas(self, alphas: Array) -> None:
        """Alphas += betas, both less a number a step."""
        batch, steps, _ = self.x.shape
        states = np.arange(self.classes.shape[1])
        is_end = (states == self.last[:, None]) | (states == self.last[:, None] - 1)
        beta = np.where(is_end, 0.0, -np.inf).astype(self.x.dtype)
        behind = np.full((batch, len(states) + 2), -np.inf, beta.dtype)
        reached = behind[:, : len(states)]
        skips = np.zeros_like(self.skips)
        skips[:, :-2] = self.skips[:, 2:]
        for step, emission in self._emissions(range(steps - 1, -1, -1)):
            alphas[step] += beta
            np.add(beta, emission, out=reached)
            largest = reached.max(axis=1)
            reached -= np.where(np.isfinite(largest), largest, 0.0)[:, None]
            skipped = np.where(skips, behind[:, 2:], -np.inf)
            earlier = np.empty_like(beta)
            _log_add(earlier, reached, behind[:, 1:-1], skipped)
            goes_on = step < self.lengths
            beta = earlier if goes_on.all() else np.where(goes_on[:, None], earlier, beta)

    def gradient(self, dx: Array, lattice: Array, factors: Array, possible: Array) -> None:
        """Dx = factors (softmax(x) - the share of each class in softmax(alpha + beta))."""
        for b in range(len(dx)):
            end = self.lengths[b] if possible[b] else 0
            slope, states = dx[b, :end], lattice[:end, b]
            dx[b, end:] = 0.0
            if not end:
                continue
            np.subtract(self.x[b, :end], self.log_sums[b, :end, None], out=slope)
            np.exp(slope, out=slope)
            states -= states.max(axis=1, keepdims=True)
            _exp(states)
            states /= np.dot(states, ones(states.shape[1], states))[:, None]
            found, number = np.unique(self.classes[b], return_inverse=True)
            of_class = np.zeros((len(number), len(found)), dx.dtype)
            of_class[np.arange(len(number)), number] = 1.0
            slope[:, found] -= states @ of_class
            slope *= factors[b]


def _log_add(out: Array, a: Array, b: Array, c: Array) -> None:
    """Out = log(exp(a) + exp(b) + exp(c)), -inf where all three are."""
    largest = np.maximum(np.maximum(a, b), c)
    shift = np.where(largest == -np.inf, 0.0, largest)
    total = _exp(a - shift)
    total += _exp(b - shift)
    total += _exp(c - shift)
    np.log(total, out=out)
    out += largest


def _exp(x: Array) -> Array:
    """Exp(x) in place for x up to 0, at least exp(-80) = 2e-35: below 1e-38 ufuncs are slow."""
    np.maximum(x, -80.0, out=x)
    return np.exp(x, out=x)
