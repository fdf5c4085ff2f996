"""The reductions of device arrays; their results stay on the device, as 0-dimensional arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


class Reductions:
    """The methods that make few numbers of many."""

    def sum(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
    ) -> Any:
        """Return the sum along ``axis``."""
        return self._reduce(np.sum, out, axis=axis, dtype=dtype, keepdims=keepdims)

    def prod(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = None
    ) -> Any:
        """Return the product along ``axis``."""
        return self._reduce(np.prod, out, axis=axis, dtype=dtype, keepdims=bool(keepdims))

    def mean(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
    ) -> Any:
        """Return the mean along ``axis``."""
        return self._reduce(np.mean, out, axis=axis, dtype=dtype, keepdims=keepdims)

    def max(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Return the maximum along ``axis``."""
        return self._reduce(np.max, out, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Return the minimum along ``axis``."""
        return self._reduce(np.min, out, axis=axis, keepdims=keepdims)

    def any(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Return whether any element along ``axis`` is true."""
        return self._reduce(np.any, out, axis=axis, keepdims=keepdims)

    def all(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Return whether all elements along ``axis`` are true."""
        return self._reduce(np.all, out, axis=axis, keepdims=keepdims)

    def argmax(
        self, axis: Any = None, out: Any = None, dtype: Any = None, keepdims: bool = False
    ) -> Any:
        """Return the index of the maximum along ``axis``."""
        result = self._reduce(np.argmax, out, axis=axis, keepdims=keepdims)
        return result if dtype is None else result.astype(dtype)

    def argmin(
        self, axis: Any = None, out: Any = None, dtype: Any = None, keepdims: bool = False
    ) -> Any:
        """Return the index of the minimum along ``axis``."""
        result = self._reduce(np.argmin, out, axis=axis, keepdims=keepdims)
        return result if dtype is None else result.astype(dtype)

    def _reduce(self, function: Callable[..., Any], out: Any, **keywords: Any) -> Any:
        raise NotImplementedError
