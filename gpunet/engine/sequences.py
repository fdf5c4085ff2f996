"""Sequences of different lengths: sorted into buckets of like lengths and filled up in each.

A model whose input has an unknown number of steps, ``Input((None,))`` or ``Input((None, 8))``,
takes a list of arrays of any lengths. Filled up with zeros to the longest of all they would mostly
be zeros, and each length of its own would need a plan of its own; so samples of like lengths make a
bucket, every batch comes from one bucket, and there is a plan for each bucket. Layers that make
masks (Embedding with mask_zero=True, Masking) see to it that what was filled up counts for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.backend.base import Backend
from gpunet.engine.data import as_numbers
from gpunet.errors import ShapeError

Values = np.ndarray[Any, Any]

BUCKETS = 8
"""How many buckets there are at most, of like numbers of samples. Lengths that are spread evenly
from 1 to 200 are filled up by 12 % with 8 buckets, and by 99 % with one."""


class Sequences:
    """Arrays of different lengths along their first axis, one for each sample.

    Args:
        arrays: the arrays (steps, ...), alike in all other axes and in dtype.

    Attributes:
        lengths: the number of steps of each.
        shape: (samples, None, ...), as of an array.
        dtype: that of the arrays.
    """

    def __init__(self, arrays: Sequence[Values]) -> None:
        self._arrays = list(arrays)
        self.lengths = np.array([len(array) for array in arrays], np.int64)
        self.shape = (len(self._arrays), None, *self._arrays[0].shape[1:])
        self.dtype = self._arrays[0].dtype

    def __len__(self) -> int:
        return len(self._arrays)

    def __getitem__(self, part: slice | Values) -> Sequences:
        """Some of the samples: a slice, or their numbers."""
        if isinstance(part, slice):
            return Sequences(self._arrays[part])
        return Sequences([self._arrays[i] for i in part])

    def padded(self, steps: int | None = None) -> Values:
        """One array (samples, steps, ...), with zeros behind the end of each; at least one step.

        Args:
            steps: how many steps; those of the longest if None.
        """
        longest = int(self.lengths.max(initial=1)) if steps is None else steps
        result = np.zeros((len(self), longest, *self.shape[2:]), self.dtype)
        for row, array in zip(result, self._arrays, strict=True):
            row[: len(array)] = array
        return result


def as_sequences(value: Any, where: str) -> Sequences | None:
    """A list of arrays of different lengths; None if value is anything else.

    Args:
        value: what a user passed in.
        where: what it is, for messages.

    Raises:
        DtypeError: entries that are no numbers.
        ShapeError: entries that differ in more than their lengths.
    """
    if isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 1:
        value = list(value)
    if not isinstance(value, list | tuple) or not value:
        return None
    if len({_length(item) for item in value}) < 2:
        return None  # one array, or what is no list of arrays at all
    arrays = [as_numbers(item, f"sample {i} of {where}") for i, item in enumerate(value)]
    shapes = {array.shape[1:] for array in arrays}
    if len(shapes) > 1 or not all(array.ndim for array in arrays):
        raise ShapeError(
            f"{where} must be arrays that differ in their lengths alone, got the shapes "
            f"{', '.join(str(shape) for shape in sorted({a.shape for a in arrays})[:4])}, ..."
        )
    dtype = np.result_type(*{array.dtype for array in arrays if len(array)})
    return Sequences([array.astype(dtype, copy=False) for array in arrays])


def _length(item: Any) -> int:
    return len(item) if hasattr(item, "__len__") else -1


def lengths_of(arrays: Sequence[Any]) -> Values | None:
    """How long the samples of the first `Sequences` among arrays are; None if there are none."""
    return next((array.lengths for array in arrays if isinstance(array, Sequences)), None)


def on_host(values: Any, backend: Backend) -> Any:
    """Values that are picked by number; only those on another device are copied."""
    if isinstance(values, np.ndarray | Sequences):
        return values
    return backend.to_numpy(values)


def picked(values: Any, bucket: Values, steps: int | None = None) -> Values:
    """The values of the samples of a bucket: an array, of `Sequences` filled up to these steps."""
    part = values[bucket]
    return part.padded(steps) if isinstance(part, Sequences) else part


def buckets_of(lengths: Values, most: int = BUCKETS) -> list[Values]:
    """The numbers of the samples in each bucket, short ones first.

    Args:
        lengths: how long each sample is.
        most: how many buckets there may be; fewer if lengths are often the same.

    Example:
        >>> import numpy as np
        >>> [part.tolist() for part in buckets_of(np.array([3, 9, 3, 8, 1, 9]), most=2)]
        [[0, 2, 4], [1, 3, 5]]
    """
    shares = np.linspace(0.0, 1.0, most + 1)[1:]
    ends = np.unique(np.quantile(lengths, shares, method="inverted_cdf"))
    places = np.searchsorted(ends, lengths)
    return [np.flatnonzero(places == place) for place in range(len(ends))]
