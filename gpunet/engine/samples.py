"""Data sets: as a user gave them, checked and cut in two, and as matrices on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.arguments import is_number
from gpunet.backend.base import Backend
from gpunet.backend.spec import Array
from gpunet.engine import checks
from gpunet.engine.data import as_batch, check_lengths, class_weights
from gpunet.engine.heads import Head, check_names
from gpunet.engine.sequences import (
    BUCKETS,
    Sequences,
    as_sequences,
    buckets_of,
    lengths_of,
    on_host,
    picked,
)
from gpunet.errors import ArgumentError, GpunetError, ShapeError, warn

if TYPE_CHECKING:
    from gpunet.engine.trainer import Trainer


@dataclass(frozen=True)
class Samples:
    """The arrays of a data set, each as a matrix with one row a sample.

    They are on the device, or, if they do not fit there, all on the host.

    Attributes:
        inputs: one matrix for each input of the model.
        shapes: the shape of one sample of each input.
        labels: the targets of each head.
        weights: for each head one row of weights a sample, or None.
    """

    inputs: tuple[Array, ...]
    shapes: tuple[tuple[int, ...], ...]
    labels: tuple[Array, ...]
    weights: tuple[Array | None, ...]

    @property
    def arrays(self) -> list[Array]:
        """All arrays that are there."""
        return [a for a in (*self.inputs, *self.labels, *self.weights) if a is not None]

    @property
    def count(self) -> int:
        """The number of samples."""
        return len(self.labels[0])

    @property
    def signature(self) -> tuple[Any, ...]:
        """What a plan depends on: shapes and dtypes, and which weights there are."""
        described = [(tuple(a.shape), np.dtype(a.dtype).name) for a in self.arrays]
        return (*described, self.shapes, *(weights is None for weights in self.weights))

    def map(self, function: Callable[[Array], Array]) -> Samples:
        """The same data set with a function applied to each array."""
        inputs, labels = (tuple(map(function, arrays)) for arrays in (self.inputs, self.labels))
        weights = tuple(None if array is None else function(array) for array in self.weights)
        return Samples(inputs, self.shapes, labels, weights)


@dataclass(frozen=True)
class Given:
    """A data set as its user gave it.

    Attributes:
        inputs: an array, or `Sequences`, for each input of the model.
        targets: what was given for each head.
        weights: the sample weights of each head, or None.
    """

    inputs: list[Array]
    targets: list[Any]
    weights: list[Any]


def given(trainer: Trainer, x: Any, y: Any, sample_weight: Any = None) -> Given:
    """Sort what a user passed in by input and by head.

    Raises:
        ArgumentError, ShapeError, DtypeError: a wrong number of arrays, wrong names, no arrays.
    """
    inputs = trainer.inputs_of(x)
    if y is None:
        raise ArgumentError(f"{trainer.name} needs targets y beside x, got None.")
    targets = _targets(trainer, y)
    if lengths_of(inputs) is not None:
        targets = [_as_given(target, "y", trainer) for target in targets]
    return Given(inputs, targets, _sample_weights(trainer, sample_weight))


def _as_given(values: Any, where: str, trainer: Trainer) -> Any:
    """Values beside `Sequences`, on the host, where they can be picked by number."""
    sequences = as_sequences(values, where)
    if sequences is not None:
        return sequences
    return on_host(as_batch(values, where, trainer.backend), trainer.backend)


def in_buckets(trainer: Trainer, data: Given, most: int = BUCKETS) -> list[Given]:
    """A data set in parts whose samples have like lengths, filled up with zeros; dense ones whole.

    Args:
        trainer: the model.
        data: what was given.
        most: how many parts there may be.

    Raises:
        ArgumentError: targets for each step, although nothing masks what is filled up.
        ShapeError: targets with other lengths than the inputs, or another number of them.
        GpunetWarning: nothing in the model masks what is filled up.
    """
    lengths = lengths_of(data.inputs)
    if lengths is None:
        return [data]
    _check_steps(trainer, data, lengths)
    all_inputs = [on_host(array, trainer.backend) for array in data.inputs]
    all_weights = [
        None if w is None else _as_given(w, "sample_weight", trainer) for w in data.weights
    ]
    parts = []
    for bucket in buckets_of(lengths, most):
        steps = max(int(lengths[bucket].max()), 1)
        inputs = [picked(array, bucket) for array in all_inputs]
        targets = [picked(target, bucket, steps) for target in data.targets]
        weights = [None if w is None else picked(w, bucket, steps) for w in all_weights]
        parts.append(Given(inputs, targets, weights))
    return parts


def _check_steps(trainer: Trainer, data: Given, lengths: Array) -> None:
    """See `in_buckets`."""
    for head, target, weights in zip(trainer.heads, data.targets, data.weights, strict=True):
        given_arrays = {"x": data.inputs[0], "y": target}
        if weights is not None:
            given_arrays["sample_weight"] = weights
        check_lengths(given_arrays, trainer.name)
        if not isinstance(target, Sequences):
            continue
        if not np.array_equal(target.lengths, lengths):
            first = int(np.flatnonzero(target.lengths != lengths)[0])
            raise ShapeError(
                f"y of {trainer.name} must have a target for each step, but sample {first} has "
                f"{lengths[first]} steps and {target.lengths[first]} targets."
            )
        if trainer.graph.outputs[head.output].mask is None:
            raise ArgumentError(
                f"y of {trainer.name} has targets for each step of sequences of different lengths, "
                f"but the output {head.name!r} has no mask, so that steps that are filled up would "
                "count; take Embedding(..., mask_zero=True) or put layers.Masking() first."
            )
    if not any(node.new_masks for node in trainer.graph.nodes):
        warn(
            f"{trainer.name} gets sequences of different lengths, which are filled up with 0, and "
            "no layer masks that; take Embedding(..., mask_zero=True) or put layers.Masking() "
            "first."
        )


def _targets(trainer: Trainer, y: Any) -> list[Any]:
    heads, form = trainer.heads, trainer.output_form
    names, y = form.names, form.flat(y, "y")
    if isinstance(y, Mapping):
        check_names(y, names, "y")
        y = [y.get(name) for name in names]
        missing = [head.name for head in heads if y[head.output] is None]
        if missing:
            raise ArgumentError(f"{trainer.name} needs targets y for the output {missing[0]!r}.")
    elif len(names) == 1:
        return [y]
    if not isinstance(y, list | tuple) or len(y) not in (len(names), len(heads)):
        got = f"{len(y)} entries" if isinstance(y, list | tuple) else type(y).__name__
        raise ArgumentError(
            f"{trainer.name} takes targets y as a list or a dict with an array for each of the "
            f"outputs {', '.join(names)}, got {got}."
        )
    return [y[head.output] for head in heads] if len(y) == len(names) else list(y)


def _sample_weights(trainer: Trainer, sample_weight: Any) -> list[Any]:
    """One array for all heads, or a list or a dict with one (or None) for each."""
    heads, form = trainer.heads, trainer.output_form
    names, sample_weight = form.names, form.flat(sample_weight, "sample_weight")
    if isinstance(sample_weight, Mapping):
        check_names(sample_weight, names, "sample_weight")
        return [sample_weight.get(names[head.output]) for head in heads]
    is_list = isinstance(sample_weight, list | tuple) and len(names) > 1
    if not is_list or not any(entry is None or np.ndim(entry) for entry in sample_weight):
        return [sample_weight] * len(heads)
    if len(sample_weight) not in (len(names), len(heads)):
        raise ArgumentError(
            f"sample_weight must be one array, or a list or a dict with an array (or None) for "
            f"each of the outputs {', '.join(names)}, got {len(sample_weight)} entries."
        )
    if len(sample_weight) == len(names):
        return [sample_weight[head.output] for head in heads]
    return list(sample_weight)


def split(trainer: Trainer, data: Given, share: float) -> tuple[Given, Given | None]:
    """Take the last part of the data for validation, before anything is shuffled, as Keras does.

    Raises:
        ArgumentError: a share that leaves no samples on one side.
        ShapeError: arrays of different lengths.
    """
    if not is_number(share) or not 0 <= share < 1:
        raise ArgumentError(f"validation_split must be at least 0 and below 1, got {share!r}.")
    if share == 0:
        return data, None
    targets = [
        y if isinstance(y, Sequences) else as_batch(y, "y", trainer.backend) for y in data.targets
    ]
    for y in targets:
        check_lengths({"x": data.inputs[0], "y": y}, "validation_split")
    weights = [
        None if w is None else as_batch(w, "sample_weight", trainer.backend) for w in data.weights
    ]
    count = len(targets[0])
    cut = int(count * (1 - share))
    if cut in (0, count):
        raise ArgumentError(
            f"validation_split={share} of {count} samples leaves no samples to train or validate "
            "on."
        )

    def part(piece: slice) -> Given:
        cut_weights = [None if w is None else w[piece] for w in weights]
        return Given([x[piece] for x in data.inputs], [y[piece] for y in targets], cut_weights)

    return part(slice(cut)), part(slice(cut, None))


def checked_on_device(
    trainer: Trainer, where: str, data: Given, class_weight: Any = None
) -> list[Samples]:
    """A data set in parts on the device, looked through for what spoils a training.

    Args:
        trainer: the model.
        where: "" for the training data, "validation " for the validation data.
        data: what was given.
        class_weight: as in `Trainer.fit`.
    """
    parts = in_buckets(trainer, data)
    samples = [on_device(trainer, part, class_weight) for part in parts]
    for part in parts:
        _check(trainer, where, part)
    return samples


def _check(trainer: Trainer, where: str, data: Given) -> None:
    checks.check_inputs(where, data.inputs, trainer.graph)
    for head, y, weights in zip(trainer.heads, data.targets, data.weights, strict=True):
        name = f" ({head.name})" if len(trainer.heads) > 1 else ""
        labels = as_batch(y, f"{where}y{name}", trainer.backend)
        checks.check_targets(f"{where}y{name}", labels)
        if not where:  # said once is enough
            checks.check_accuracy(head.loss, [meter.metric for meter in head.meters], labels)
        if weights is not None:
            checks.check_weights(f"{where}sample_weight{name}", weights)


def on_device(trainer: Trainer, data: Given, class_weight: Any = None) -> Samples:
    """Check a data set and put it on the device."""
    if class_weight and len(trainer.heads) > 1:
        raise ArgumentError(
            "class_weight works with one output; for several pass sample_weight as a dict by "
            "output."
        )
    labels, weights = [], []
    for head, y, sample_weight in zip(trainer.heads, data.targets, data.weights, strict=True):
        with _named(trainer.heads, head):
            rows, row_weights = _head_arrays(trainer, head, data, y, sample_weight, class_weight)
        labels.append(_matrix(rows))
        weights.append(None if row_weights is None else _matrix(row_weights))
    inputs = tuple(_matrix(array) for array in data.inputs)
    shapes = tuple(tuple(array.shape[1:]) for array in data.inputs)
    return _uploaded(trainer.backend, Samples(inputs, shapes, tuple(labels), tuple(weights)))


def _head_arrays(
    trainer: Trainer, head: Head, data: Given, y: Any, sample_weight: Any, class_weight: Any
) -> tuple[Array, Array | None]:
    """The targets of one head as its loss takes them, and the weights of its losses."""
    loss = head.loss
    shape = trainer.graph.output_shapes([x.shape for x in data.inputs])[head.output]
    labels = loss.labels(y, shape, trainer.backend)
    check_lengths({"x": data.inputs[0], "y": labels}, trainer.name)
    weights = None
    if class_weight:
        weights = class_weights(y, class_weight, shape[-1])
    if sample_weight is not None:
        rows = loss.weights(sample_weight, shape, "sample_weight")
        scale = 1.0 if weights is None else weights.reshape((-1,) + (1,) * (rows.ndim - 1))
        weights = rows * scale
    elif weights is not None:
        weights = loss.weights(weights, shape, "class_weight")
    return labels, weights


@contextmanager
def _named(heads: Sequence[Head], head: Head) -> Iterator[None]:
    """Say which of several outputs an error is about."""
    try:
        yield
    except GpunetError as error:
        if len(heads) > 1:
            error.args = (f"output {head.name!r}: {error}",)
        raise


def _matrix(array: Array) -> Array:
    """One row a sample."""
    matrix = array.reshape(len(array), -1)
    return matrix if matrix.flags.c_contiguous else matrix.copy()


def _uploaded(backend: Backend, samples: Samples) -> Samples:
    """The same on the device, if there is room for it."""
    on_host = [array for array in samples.arrays if not backend.owns(array)]
    room = backend.room()
    if room is not None and sum(array.nbytes for array in on_host) > room:
        return samples.map(lambda a: backend.to_numpy(a) if backend.owns(a) else a)
    return samples.map(lambda a: a if backend.owns(a) else backend.from_numpy(a))
