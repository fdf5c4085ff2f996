"""The look-alike of ``cupy.testing``: NumPy's assertions, for arrays on either side."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.emulator.array import ndarray

__all__ = [
    "assert_allclose",
    "assert_array_almost_equal",
    "assert_array_equal",
    "assert_array_less",
]


def assert_allclose(
    actual: Any,
    desired: Any,
    rtol: float = 1e-7,
    atol: float = 0,
    equal_nan: bool = True,
    err_msg: str = "",
    verbose: bool = True,
) -> None:
    """Raise an AssertionError unless the elements agree to a tolerance."""
    np.testing.assert_allclose(
        _host(actual), _host(desired), rtol, atol, equal_nan, err_msg, verbose
    )


def assert_array_almost_equal(
    actual: Any, desired: Any, decimal: int = 6, err_msg: str = "", verbose: bool = True
) -> None:
    """Raise an AssertionError unless the elements agree to so many decimals."""
    np.testing.assert_array_almost_equal(_host(actual), _host(desired), decimal, err_msg, verbose)


def assert_array_equal(
    actual: Any,
    desired: Any,
    err_msg: str = "",
    verbose: bool = True,
    *,
    strides_check: bool = False,
) -> None:
    """Raise an AssertionError unless shapes and elements are equal."""
    np.testing.assert_array_equal(_host(actual), _host(desired), err_msg, verbose)
    if strides_check and actual.strides != desired.strides:
        raise AssertionError(f"the strides {actual.strides} and {desired.strides} are not equal")


def assert_array_less(x: Any, y: Any, err_msg: str = "", verbose: bool = True) -> None:
    """Raise an AssertionError unless each element is less than its counterpart."""
    np.testing.assert_array_less(_host(x), _host(y), err_msg, verbose)


def _host(value: Any) -> Any:
    return value.get() if isinstance(value, ndarray) else value
