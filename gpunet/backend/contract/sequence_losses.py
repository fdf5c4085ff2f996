"""Losses of sequences whose labels are not aligned with the steps: CTC.

dx, loss, totals and scale as in `gpunet.backend.contract.losses`, with a loss for each sample;
nothing is counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpunet.backend.spec import In, InOut, Out, Scratch, Shapes, op
from gpunet.errors import ArgumentError


def _blank_is_a_class(name: str, shapes: Shapes, attributes: Mapping[str, Any]) -> None:
    blank, classes = attributes.get("blank", 0), shapes["x"][2]
    if not 0 <= blank < classes:
        raise ArgumentError(
            f"op {name} takes one of the {classes} classes as blank, got {blank!r}."
        )


def _lattice(shapes: Shapes, attributes: Mapping[str, Any]) -> int:
    """The log-sum of each step and, for a gradient, the states of each step and a link a label."""
    del attributes
    batch, steps, _ = shapes["x"]
    length = shapes["labels"][1]
    if "dx" not in shapes:
        return batch * steps
    return batch * (steps * (1 + 2 * length + 1) + length)


@op(
    _blank_is_a_class,
    _lattice,
    dx="batch steps classes",
    loss="full: batch",
    totals="float64: 2",
    x="batch steps classes",
    labels="int32: batch length",
    sample_weight="full: batch",
    lengths="int32: batch",
    label_lengths="int32: batch",
    scratch="full: scratch_size",
    in_place="dx=x",
)
def ctc(
    dx: Out | None,
    loss: Out,
    totals: InOut,
    x: In,
    labels: In,
    sample_weight: In | None,
    lengths: In | None,
    label_lengths: In | None,
    scratch: Scratch = None,
    *,
    scale: float,
    blank: int = 0,
) -> None:
    """loss = -log of the probability that a sample's steps spell its labels.

    With p = softmax(x) at each step: the sum over all ways to give each step a class such that,
    after equal neighbours are merged and then blanks dropped, the labels are left, of the product
    of the steps' probabilities. The states of a step are blank, label, blank, label, ..., blank;
    alpha(t, s) is the log-probability of all beginnings that end in state s at step t, beta(t, s)
    that of all ends that come after. Then dx[t] = softmax(x[t]) less what softmax(alpha + beta)[t]
    gives to the states of each class.

    A sample has ``lengths`` steps (all if None) and ``label_lengths`` labels (if None as many as
    are not blank); at steps behind them dx is 0. Where the labels need more steps than there are,
    the loss is infinite and dx 0. A label that is blank or no class, or a length that is longer
    than the array, makes the loss NaN.
    """
