"""Op cases: CTC, with the textbook recursion over single numbers."""

from __future__ import annotations

import numpy as np

from gpunet.testing.op_checks import Array, Case, Gradient, Maker, Values, given, normal, uniform


def ctc(
    x: Array,
    labels: Array,
    scale: float,
    totals: Array,
    sample_weight: Array | None = None,
    lengths: Array | None = None,
    label_lengths: Array | None = None,
    blank: int = 0,
) -> Values:
    """Sample by sample, alpha and beta in probabilities that are scaled at each step."""
    batch, steps, _ = x.shape
    loss, dx = np.zeros(batch), np.zeros_like(x)
    for b in range(batch):
        length = steps if lengths is None else int(lengths[b])
        count = (labels[b] != blank).sum() if label_lengths is None else int(label_lengths[b])
        p = np.exp(x[b, :length] - x[b, :length].max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        loss[b], occupied = _alignments(p, [int(label) for label in labels[b, :count]], blank)
        if np.isfinite(loss[b]):
            dx[b, :length] = p - occupied
    factors = np.ones(batch) if sample_weight is None else sample_weight
    total = batch * scale * (loss * factors).sum()
    return {
        "loss": loss * factors,
        "dx": dx * scale * factors[:, None, None],
        "totals": totals + np.array([total, batch]),
    }


def _alignments(p: Array, labels: list[int], blank: int) -> tuple[float, Array]:
    """The loss of one sample, and how likely each class is at each step given the labels."""
    states = [blank]
    for label in labels:
        states += [label, blank]
    steps, count = len(p), len(states)
    alpha, beta, loss = np.zeros((steps, count)), np.zeros((steps, count)), 0.0
    for t in range(steps):
        for s in range(count):
            sources = [s, s - 1]
            if s >= 2 and states[s] not in (blank, states[s - 2]):
                sources.append(s - 2)
            reached = sum(alpha[t - 1, source] for source in sources if source >= 0)
            alpha[t, s] = p[t, states[s]] * (float(s < 2) if t == 0 else reached)
        if alpha[t].sum() == 0:
            return np.inf, np.zeros_like(p)
        loss -= np.log(alpha[t].sum())
        alpha[t] /= alpha[t].sum()
    if steps == 0:
        return (np.inf if labels else 0.0), np.zeros_like(p)
    end = alpha[-1, -2:].sum()
    if end == 0:
        return np.inf, np.zeros_like(p)
    beta[-1, -2:] = 1.0
    for t in range(steps - 2, -1, -1):
        for s in range(count):
            targets = [s, s + 1]
            if s + 2 < count and states[s + 2] not in (blank, states[s]):
                targets.append(s + 2)
            beta[t, s] = sum(
                beta[t + 1, target] * p[t + 1, states[target]]
                for target in targets
                if target < count
            )
        beta[t] /= beta[t].sum()
    occupied = np.zeros_like(p)
    for t in range(steps):
        share = alpha[t] * beta[t] / (alpha[t] @ beta[t])
        for s in range(count):
            occupied[t, states[s]] += share[s]
    return loss - np.log(end), occupied


# ---------------------------------------------------------------------------------- the rows


def _labels(batch: int, length: int, classes: int, blank: int = 0) -> Maker:
    """Labels of all lengths, padded with the blank."""

    def make(random: np.random.Generator) -> Array:
        labels = random.integers(1, classes, (batch, length))
        labels += blank - classes * (labels + blank >= classes)
        labels[np.arange(length) >= random.integers(0, length + 1, batch)[:, None]] = blank
        return labels.astype(np.int32)

    return Maker(f"labels{batch}x{length}", make)


_TOTALS = given([3.0, 4.0], label="totals")
_BLANK_LAST: Values = {
    "x": normal(3, 6, 7),
    "labels": given([[1, 1, 2, 6], [0, 5, 0, 5], [3, 3, 3, 1]], "int32"),
    "lengths": given([5, 6, 6], "int32", "lengths"),
    "label_lengths": given([3, 4, 4], "int32", "label_lengths"),
    "sample_weight": uniform(3),
    "scale": 0.5,
    "totals": _TOTALS,
    "blank": 6,
}
_WITHOUT_SLOPE: Values = {"scale": 2.0}  # of infinity there are no differences
_IMPOSSIBLE: Values = {
    "x": normal(5, 3, 4),
    "labels": given([[1, 1, 0], [1, 1, 1], [3, 2, 1], [0, 0, 0], [2, 0, 0]], "int32"),
    "lengths": given([3, 3, 2, 0, 0], "int32", "lengths"),
    **_WITHOUT_SLOPE,
    "totals": _TOTALS,
}

CASES = (
    Case(
        "ctc",
        ctc,
        (
            *(
                {
                    "x": normal(batch, steps, classes),
                    "labels": _labels(batch, length, classes),
                    "scale": 0.5,
                    "totals": _TOTALS,
                    **options,
                }
                for batch, steps, classes, length in (
                    *((1, 1, 2, 1), (4, 9, 5, 4), (3, 12, 8, 5), (0, 3, 4, 2), (2, 7, 3, 0)),
                    *((5, 40, 33, 18), (2, 90, 1028, 40)),
                )
                for options in ({}, {"dx": None, "sample_weight": uniform(batch)})
            ),
            _BLANK_LAST,
            _IMPOSSIBLE,
        ),
        (
            Gradient(
                "ctc",
                "loss",
                {"dx": "x"},
                {n: n for n in ("x", "labels", "sample_weight", "lengths", "label_lengths")}
                | {"totals": "totals"},
                lambda flags: None if flags == _WITHOUT_SLOPE else flags,
            ),
        ),
    ),
)
