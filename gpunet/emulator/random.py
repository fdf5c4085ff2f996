"""The look-alike of ``cupy.random``: NumPy's numbers, which are not cuRAND's.

Whatever depends on more than their distribution would fail on a GPU, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.emulator.array import check_library, compute, ndarray

__all__ = [
    "Generator",
    "default_rng",
    "normal",
    "rand",
    "randint",
    "randn",
    "random",
    "seed",
    "standard_normal",
    "uniform",
]


class Generator:
    """A source of random numbers; a look-alike of ``cupy.random.Generator``.

    Args:
        bit_generator: NumPy's, which holds the state.
    """

    def __init__(self, bit_generator: Any) -> None:
        self._numpy = np.random.Generator(bit_generator)

    def random(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> ndarray:
        """Return numbers spread evenly over [0, 1)."""
        numbers = _numbers(self._numpy.random(size), dtype)
        if out is None:
            return numbers
        out[...] = numbers
        return out  # type: ignore[no-any-return]

    def integers(
        self,
        low: Any,
        high: Any = None,
        size: Any = None,
        dtype: Any = np.int64,
        endpoint: bool = False,
    ) -> ndarray:
        """Return integers from ``low`` to below ``high``, or below ``low`` from 0."""
        return _numbers(self._numpy.integers(low, high, size, endpoint=endpoint), dtype)

    def standard_normal(
        self, size: Any = None, dtype: Any = np.float64, out: Any = None
    ) -> ndarray:
        """Return numbers from the normal distribution with mean 0 and deviation 1."""
        numbers = _numbers(self._numpy.standard_normal(size), dtype)
        if out is None:
            return numbers
        out[...] = numbers
        return out  # type: ignore[no-any-return]

    def uniform(
        self, low: float = 0.0, high: float = 1.0, size: Any = None, dtype: Any = np.float64
    ) -> ndarray:
        """Return numbers spread evenly from ``low`` to ``high``."""
        return _numbers(self._numpy.uniform(low, high, size), dtype)


def default_rng(seed: Any = None) -> Generator:
    """Return a generator."""
    return Generator(np.random.PCG64(seed))


class _State:
    """The generator of the functions below."""

    def __init__(self) -> None:
        self.generator = default_rng()


_state = _State()


def seed(seed: Any = None) -> None:
    """Start the functions' numbers over."""
    _state.generator = default_rng(seed)


def random(size: Any = None, dtype: Any = float) -> ndarray:
    """Return numbers spread evenly over [0, 1)."""
    return _state.generator.random(size, dtype)


def rand(*size: int, **kwarg: Any) -> ndarray:
    """Return numbers spread evenly over [0, 1); the arguments are the shape."""
    return random(size, kwarg.get("dtype", float))


def uniform(low: Any = 0.0, high: Any = 1.0, size: Any = None, dtype: Any = float) -> ndarray:
    """Return numbers spread evenly from ``low`` to ``high``."""
    return _state.generator.uniform(low, high, size, dtype)


def standard_normal(size: Any = None, dtype: Any = float) -> ndarray:
    """Return numbers from the normal distribution with mean 0 and deviation 1."""
    return _state.generator.standard_normal(size, dtype)


def randn(*size: int, **kwarg: Any) -> ndarray:
    """Return standard normal numbers; the arguments are the shape."""
    return standard_normal(size, kwarg.get("dtype", float))


def normal(loc: Any = 0.0, scale: Any = 1.0, size: Any = None, dtype: Any = float) -> ndarray:
    """Return numbers from the normal distribution."""
    return (standard_normal(size, dtype) * scale + loc).astype(dtype)  # type: ignore[no-any-return]


def randint(low: Any, high: Any = None, size: Any = None, dtype: Any = int) -> ndarray:
    """Return integers from ``low`` to below ``high``, or below ``low`` from 0."""
    return _state.generator.integers(low, high, size, dtype)


def _numbers(values: Any, dtype: npt.DTypeLike) -> ndarray:
    check_library("cuRAND")
    return compute("random", lambda: np.asarray(values, np.dtype(dtype)))
