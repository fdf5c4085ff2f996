"""Prediction: the outputs for all samples, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.callbacks import CallbackList
from gpunet.engine.checks import check_indices
from gpunet.engine.sequences import buckets_of, lengths_of, on_host, picked

if TYPE_CHECKING:
    from gpunet.engine.trainer import Trainer

Values = np.ndarray[Any, Any]
Part = Any  # a slice, or the numbers of samples


def predict(
    trainer: Trainer, arrays: Sequence[Any], batch_size: int, verbose: int | str, callbacks: Any
) -> list[Any]:
    """The outputs for all samples, one entry for each output of the model.

    Args:
        trainer: the model.
        arrays: an array, or `Sequences`, for each of its inputs.
        batch_size: samples a step.
        verbose: as in `Trainer.fit`.
        callbacks: a list of callbacks.

    Returns:
        Arrays (samples, ...); a list of arrays for an output with steps of `Sequences`.

    Raises:
        ArgumentError: an integer that an embedding has no row for.
    """
    check_indices(arrays, trainer.graph)
    count, lengths = len(arrays[0]), lengths_of(arrays)
    buckets = None if lengths is None else buckets_of(lengths)
    sizes = [count] if buckets is None else [len(bucket) for bucket in buckets]
    calls = CallbackList(
        callbacks,
        add_progbar=verbose != 0,
        model=trainer,
        verbose=verbose,
        epochs=1,
        steps=sum(-(-size // batch_size) for size in sizes),
    )
    results: list[Any] = []
    calls.on_predict_begin()
    for step, (part, batch) in enumerate(_batches(trainer, arrays, buckets, batch_size)):
        calls.on_predict_batch_begin(step)
        outputs = trainer.forward_batch(batch)
        if not results:
            results = [
                _room(out, tensor.shape, count, lengths)
                for out, tensor in zip(outputs, trainer.graph.outputs, strict=True)
            ]
        for result, out in zip(results, outputs, strict=True):
            if isinstance(result, list):
                for i, row in zip(part, out, strict=True):
                    result[i] = row[: lengths[i]].copy()  # type: ignore[index]
            else:
                result[part] = out
        calls.on_predict_batch_end(step, {"outputs": outputs})
    calls.on_predict_end()
    return results


def _batches(
    trainer: Trainer, arrays: Sequence[Any], buckets: Sequence[Values] | None, batch_size: int
) -> Iterator[tuple[Part, list[Any]]]:
    """Which samples each batch has, and its arrays."""
    if buckets is None:
        for start in range(0, len(arrays[0]), batch_size):
            part = slice(start, start + batch_size)
            yield part, [array[part] for array in arrays]
        return
    hosted = [on_host(array, trainer.backend) for array in arrays]
    for bucket in buckets:
        whole = [picked(array, bucket) for array in hosted]
        for start in range(0, len(bucket), batch_size):
            part = slice(start, start + batch_size)
            yield bucket[part], [array[part] for array in whole]


def _room(
    output: Values, shape: Sequence[int | None], count: int, lengths: Values | None
) -> Values | list[Any]:
    """Where the outputs of all samples go: an array, or a list if each has steps of its own."""
    if lengths is not None and len(shape) > 1 and shape[1] is None:
        return [None] * count
    return np.empty((count, *output.shape[1:]), output.dtype)
