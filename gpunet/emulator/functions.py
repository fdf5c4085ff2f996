"""The functions of CuPy that do on the device what NumPy's do on the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gpunet.emulator import queues
from gpunet.emulator.array import apply, check_library, compute, ndarray, over, unwrap

#: Their names. The functions of NumPy compute; the results are device arrays.
AS_NUMPY = frozenset(
    """
    abs absolute add all allclose amax amin angle any append arccos arccosh arcsin arcsinh arctan
    arctan2 arctanh argmax argmin argpartition argsort argwhere around array_split atleast_1d
    atleast_2d atleast_3d average bincount bitwise_and bitwise_or bitwise_xor broadcast_arrays
    broadcast_to cbrt ceil choose clip column_stack compress concatenate conj conjugate convolve
    copysign correlate cos cosh count_nonzero cov cross cumprod cumsum deg2rad degrees diag diagflat
    diagonal diff digitize divide divmod dot dsplit dstack ediff1d einsum equal exp exp2 expand_dims
    expm1 extract eye fabs flatnonzero flip fliplr flipud floor floor_divide fmax fmin fmod frexp
    gcd gradient greater greater_equal heaviside histogram hsplit hstack hypot identity imag indices
    inner interp invert isclose isfinite isin isinf isnan kron lcm ldexp left_shift less less_equal
    lexsort linspace log log10 log1p log2 logaddexp logaddexp2 logical_and logical_not logical_or
    logical_xor logspace max maximum mean median meshgrid min minimum mod modf moveaxis multiply
    nan_to_num nanargmax nanargmin nancumsum nanmax nanmean nanmin nanprod nanstd nansum nanvar
    negative nextafter nonzero not_equal outer pad partition percentile positive power prod ptp
    quantile rad2deg radians ravel real reciprocal remainder repeat reshape right_shift rint roll
    rollaxis rot90 round searchsorted sign signbit sin sinc sinh sort split sqrt square squeeze
    stack std subtract sum swapaxes take take_along_axis tan tanh tensordot tile trace transpose tri
    tril triu true_divide trunc unique unravel_index vander var vdot vsplit vstack where
    """.split()  # noqa: SIM905 - as a list it would be a page
)
#: Those that are methods of arrays, too, with the array in front of the other arguments.
METHODS = frozenset(
    """
    argsort clip compress conj conjugate cumprod cumsum diagonal dot nonzero ptp repeat round
    searchsorted std swapaxes take trace var
    """.split()  # noqa: SIM905
)
_CUBLAS = {"dot", "einsum", "inner", "matmul", "outer", "tensordot", "vdot", "kron"}
# Their results have a shape that the host has to wait for.
_WAITING = {"argwhere", "bincount", "extract", "flatnonzero", "histogram", "nonzero", "unique"}


def on_device(name: str) -> Callable[..., Any]:
    """Return the function of this name for device arrays."""
    function = getattr(np, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        if name in _CUBLAS:
            check_library("cuBLAS")
        if name in _WAITING or (name == "where" and len(args) == 1):
            _wait(name)
        out = kwargs.pop("out", None)
        arrays = [*_device_arrays((args, kwargs))]
        hosts, options = _on_host(args), {key: _on_host(value) for key, value in kwargs.items()}
        if out is not None:
            apply(name, lambda: function(*hosts, out=unwrap(out), **options), out, *arrays)
            return out
        return _result(name, lambda: function(*hosts, **options), arrays)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"Do what ``numpy.{name}`` does, with device arrays."
    return call


def _result(name: str, function: Callable[[], Any], arrays: list[ndarray]) -> Any:
    """Turn what NumPy returns into device arrays: views where they are views, else new ones."""
    values = function()
    if isinstance(values, tuple | list):
        if queues.current().is_plain:
            parts = [_result(name, lambda part=part: part, arrays) for part in values]  # type: ignore[misc]
        else:
            numbers = range(len(values))
            parts = [_result(name, lambda n=n: function()[n], arrays) for n in numbers]  # type: ignore[misc]
        return parts if isinstance(values, list) else tuple(parts)
    if isinstance(values, np.ndarray) and values.size:
        for array in arrays:
            if np.may_share_memory(values, array._memory.bytes):
                return over(values, array._memory)
    return compute(name, (lambda: values) if queues.current().is_plain else function, *arrays)


def _on_host(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return type(value)(_on_host(part) for part in value)
    return unwrap(value)


def _device_arrays(value: Any) -> Iterator[ndarray]:
    if isinstance(value, ndarray):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _device_arrays(part)
    elif isinstance(value, dict):
        for part in value.values():
            yield from _device_arrays(part)


def _wait(name: str) -> None:
    if queues.current().is_capturing():
        raise RuntimeError("the current stream is capturing, so D2H transfers are disallowed")
    queues.current().wait(name)
