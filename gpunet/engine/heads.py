"""Heads: what each output of a compiled model is trained on and judged by, named as in Keras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet import losses
from gpunet.arguments import is_number
from gpunet.engine.meters import LossMeter, Meter, TotalMeter, metric_meters
from gpunet.errors import ArgumentError
from gpunet.metrics import Mean
from gpunet.structures import Form


@dataclass(frozen=True)
class Head:
    """One output that has a loss.

    Attributes:
        name: the output's name.
        output: its number among the model's outputs.
        loss: its loss.
        weight: what the loss is multiplied by in the sum of all losses.
        meter: the name of the meter that holds its loss.
        meters: its metrics.
    """

    name: str
    output: int
    loss: losses.Loss
    weight: float
    meter: str
    meters: tuple[Meter, ...]


def compile_heads(
    form: Form, loss: Any, loss_weights: Any, metrics: Any, weighted_metrics: Any
) -> tuple[list[Head], list[Meter]]:
    """The heads of a model with outputs of this form, and all meters, the loss first.

    Raises:
        ArgumentError: something is unknown or missing, or names no output.
    """
    names, loss = form.names, form.flat(loss, "loss")
    chosen = [None if item is None else losses.get(item) for item in _for_each(loss, names, "loss")]
    if not any(chosen):
        raise ArgumentError(
            "compile needs a loss, for example loss='sparse_categorical_crossentropy'."
        )
    weights = _weights(form.flat(loss_weights, "loss_weights"), names, chosen)
    wanted = (
        _metrics(form.flat(metrics, "metrics"), names, "metrics"),
        _metrics(form.flat(weighted_metrics, "weighted_metrics"), names, "weighted_metrics"),
    )
    if len(names) == 1:
        meters = metric_meters(wanted[0][0], wanted[1][0], taken=["loss"])
        (only,) = [item for item in chosen if item is not None]
        head = Head(names[0], 0, only, weights[0], "loss", tuple(meters))
        return [head], [Meter("loss", Mean("loss")), *meters]
    return _several_heads(names, chosen, weights, *wanted)


def _several_heads(
    names: Sequence[str],
    chosen: Sequence[losses.Loss | None],
    weights: Sequence[float],
    metrics: Sequence[Any],
    weighted_metrics: Sequence[Any],
) -> tuple[list[Head], list[Meter]]:
    """Each output's loss under NAME_loss, their weighted sum under loss, metrics as NAME_METRIC."""
    heads: list[Head] = []
    parts: list[LossMeter] = []
    meters: list[Meter] = []
    many = sum(loss is not None for loss in chosen) > 1
    taken = ["loss", *(f"{name}_loss" for name in names)]
    for i, (name, loss, weight) in enumerate(zip(names, chosen, weights, strict=True)):
        own = metric_meters(metrics[i], weighted_metrics[i], taken, f"{name}_", i)
        if loss is None:
            if own:
                raise ArgumentError(
                    f"output {name!r} has metrics but no loss, so that nothing says how its "
                    "targets look; give it a loss, with 0 in loss_weights if it is only to be "
                    "watched."
                )
            continue
        state = f"{name}_loss" if many else "loss"
        parts.append(LossMeter(state, Mean(state), output=i, factor=weight))
        heads.append(Head(name, i, loss, weight, state, tuple(own)))
        meters += own
        taken += [meter.name for meter in own]
    if not many:
        return heads, [Meter("loss", Mean("loss"), output=heads[0].output), *meters]
    total = TotalMeter("loss", Mean("loss"), parts=tuple(parts))
    return heads, [total, *parts, *sorted(meters, key=lambda meter: meter.name)]


def _for_each(value: Any, names: Sequence[str], what: str) -> list[Any]:
    """One entry for each output: from a list, a dict by name, or one value for all."""
    if isinstance(value, Mapping) and not value.keys() & {"class_name", "config"}:
        check_names(value, names, what)
        return [value.get(name) for name in names]
    if isinstance(value, list | tuple):
        if len(value) != len(names):
            raise ArgumentError(
                f"compile takes one entry in {what} for each of the outputs {', '.join(names)}, "
                f"got {len(value)}."
            )
        return list(value)
    return [value] * len(names)


def check_names(
    given: Mapping[str, Any], names: Sequence[str], what: str, end: str = "output"
) -> None:
    """Raise an ArgumentError if a dict has a key that is none of the outputs' names."""
    unknown = [key for key in given if key not in names]
    if unknown:
        hint = "; an output has the name of its layer" if end == "output" else ""
        raise ArgumentError(
            f"{what} names the {end} {unknown[0]!r}, but the model has the {end}s "
            f"{', '.join(names)}{hint}."
        )


def _weights(
    loss_weights: Any, names: Sequence[str], chosen: Sequence[losses.Loss | None]
) -> list[float]:
    if is_number(loss_weights) and len(names) > 1:
        raise ArgumentError(
            f"loss_weights must be a list or a dict with one number for each of the outputs "
            f"{', '.join(names)}, got {loss_weights!r}."
        )
    if isinstance(loss_weights, list | tuple) and len(loss_weights) < len(names):
        given = iter(loss_weights)  # those of the outputs that have a loss
        if len(loss_weights) == sum(loss is not None for loss in chosen):
            loss_weights = [1.0 if loss is None else next(given) for loss in chosen]
    weights = _for_each(loss_weights, names, "loss_weights")
    for weight in weights:
        if weight is not None and not (is_number(weight) and np.isfinite(weight)):
            hint = "; metrics go into metrics=[...]" if isinstance(weight, str) else ""
            raise ArgumentError(f"loss_weights must be finite numbers, got {weight!r}{hint}.")
    return [1.0 if weight is None else float(weight) for weight in weights]


def _metrics(given: Any, names: Sequence[str], what: str) -> list[list[Any]]:
    """A list of metrics for each output."""
    if not isinstance(given, list | tuple | Mapping | None):
        raise ArgumentError(f"compile takes a list of {what}, got {given!r}: write [...].")
    if not given:
        return [[] for _ in names]
    if len(names) == 1 and not isinstance(given, Mapping):
        nested = len(given) == 1 and isinstance(given[0], list | tuple)
        return [list(given[0] if nested else given)]
    if not isinstance(given, Mapping) and len(given) != len(names):
        raise ArgumentError(
            f"compile takes {what} as a dict by output, or as a list with one entry for each of "
            f"the outputs {', '.join(names)}, got a list of {len(given)}."
        )
    entries = _for_each(given, names, what)
    return [
        [] if entry is None else list(entry) if isinstance(entry, list | tuple) else [entry]
        for entry in entries
    ]
