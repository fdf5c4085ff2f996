"""Prediction: the outputs for all samples, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.callbacks import CallbackList
from gpunet.engine.sequences import Sequences, buckets_of

if TYPE_CHECKING:
    from gpunet.engine.trainer import Trainer

Values = np.ndarray[Any, Any]
Part = Any  # a slice, or the numbers of samples


def predict(trainer: Trainer, arrays: Sequence[Any], batch_size: int, calls: CallbackList) -> Any:
    """The outputs for all samples, one entry for each output of the model.

    Args:
        trainer: the model.
        arrays: an array, or `Sequences`, for each of its inputs.
        batch_size: samples a step.
        calls: the callbacks.

    Returns:
        Arrays (samples, ...); a list of arrays for an output with steps of `Sequences`.
    """
    lengths = next((array.lengths for array in arrays if isinstance(array, Sequences)), None)
    results: list[Any] = []
    calls.on_predict_begin()
    for step, (part, batch) in enumerate(_batches(arrays, lengths, batch_size)):
        calls.on_predict_batch_begin(step)
        outputs = trainer.forward_batch(batch)
        if not results:
            results = [
                _room(out, tensor.shape, len(arrays[0]), lengths)
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


def count_batches(arrays: Sequence[Any], batch_size: int) -> int:
    """How many steps `predict` makes."""
    lengths = next((array.lengths for array in arrays if isinstance(array, Sequences)), None)
    sizes = [len(arrays[0])] if lengths is None else map(len, buckets_of(lengths))
    return sum(-(-size // batch_size) for size in sizes)


def _batches(
    arrays: Sequence[Any], lengths: Values | None, batch_size: int
) -> Iterator[tuple[Part, list[Any]]]:
    """Which samples each batch has, and its arrays."""
    if lengths is None:
        for start in range(0, len(arrays[0]), batch_size):
            part = slice(start, start + batch_size)
            yield part, [array[part] for array in arrays]
        return
    for bucket in buckets_of(lengths):
        padded = [a[bucket].padded() if isinstance(a, Sequences) else a[bucket] for a in arrays]
        for start in range(0, len(bucket), batch_size):
            part = slice(start, start + batch_size)
            yield bucket[part], [array[part] for array in padded]


def _room(
    output: Values, shape: Sequence[int | None], count: int, lengths: Values | None
) -> Values | list[Any]:
    """Where the outputs of all samples go: an array, or a list if each has steps of its own."""
    if lengths is not None and len(shape) > 1 and shape[1] is None:
        return [None] * count
    return np.empty((count, *output.shape[1:]), output.dtype)
