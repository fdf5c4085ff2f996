"""What regularizers and constraints record around an optimizer's update."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.backend.spec import Array
from gpunet.engine.parameters import Parameter, Span
from gpunet.engine.recorder import Buffer, Recorder

if TYPE_CHECKING:
    from gpunet.regularizers import Regularizer


def record_weight_penalties(
    op: Recorder, spans: Sequence[Span], totals: Buffer | None, count: int, gradients: bool
) -> None:
    """Record the penalties of all regularized weights.

    One launch for each span does all that are elementwise; others come one by one.

    Args:
        op: the recorder.
        spans: the model's weights; their gradients have been written by then.
        totals: the running totals of the loss, or None.
        count: the rows of the batch, each of which has the penalties in its loss.
        gradients: whether the gradients are to grow by those of the penalties.
    """
    op.layer, op.direction = "regularizer", "regularizer"
    for span in spans:
        for parameter in span.parameters:
            regularizer = parameter.regularizer
            if regularizer and not regularizer.elementwise and parameter.is_trainable:
                _record_alone(op, span, parameter, regularizer, totals, count, gradients)
        table = span.penalties()
        if not len(table):
            continue
        size, dtype = span.stop - span.start, span.block.dtype
        penalties = op.external("penalties", table.shape, "float64", _uploaded(span, table))
        weights = op.external("weights", (size,), dtype, _flat(span, "weights"))
        slopes = None
        if gradients:
            slopes = op.external("gradients", (size,), dtype, _flat(span, "gradients"))
        op.weight_penalty(slopes, totals, weights, penalties, count=count)


def _record_alone(
    op: Recorder,
    span: Span,
    parameter: Parameter,
    regularizer: Regularizer,
    totals: Buffer | None,
    count: int,
    gradients: bool,
) -> None:
    """Record the penalty of one weight."""
    name, dtype = f"{parameter.layer.label}.{parameter.name}", span.block.dtype
    weight = op.external(name, parameter.shape, dtype, _value(span, parameter))
    gradient = None
    if gradients:
        name = f"{parameter.layer.label}.d{parameter.name}"
        gradient = op.external(name, parameter.shape, dtype, _gradient(span, parameter))
    regularizer.record(op, gradient, totals, weight, count=count, accumulate=True)


def record_constraints(op: Recorder, spans: Sequence[Span]) -> None:
    """Record the constraints of all weights that the optimizer has updated."""
    for span in spans:
        for parameter in span.parameters:
            if parameter.constraint is None or not parameter.is_trainable:
                continue
            op.layer, op.direction = parameter.layer.label, "update"
            name = f"{op.layer}.{parameter.name}"
            value = _value(span, parameter)
            weight = op.external(name, parameter.shape, span.block.dtype, value)
            parameter.constraint.record(op, weight)


def _flat(span: Span, name: str) -> Callable[[], Array]:
    return lambda: getattr(span, name)


def _value(span: Span, parameter: Parameter) -> Callable[[], Array]:
    return lambda: span.block.value(parameter)


def _gradient(span: Span, parameter: Parameter) -> Callable[[], Array]:
    return lambda: span.block.gradient(parameter)


def _uploaded(span: Span, table: np.ndarray[Any, Any]) -> Callable[[], Array]:
    return lambda: span.block.backend.from_numpy(table)
