"""Ops that make their views and small scratch arrays once, when a plan binds them to its arrays.

In a small network the Python around the ufuncs takes as long as the ufuncs: a transposed view, a
``x[:, None]``, an array of row starts cost 0.1 to 0.4 us each, at every step. A prepared op is a
function of its arrays that makes all of this and returns the call which does the work:

    >>> import numpy as np
    >>> @prepared
    ... def product(c, a, b, *, ta=False):
    ...     a = a.T if ta else a
    ...     return lambda: np.dot(a, b, c)

It is called like any op, and a plan keeps the call:

    >>> a, c = np.eye(2), np.empty((2, 2))
    >>> product(c, a, a, ta=True)
    >>> call = bind(product, c, a, a, ta=True)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any, Generic, ParamSpec

from gpunet.backend.cpu.blocks import BLOCK, each_block
from gpunet.backend.spec import Array

Call = Callable[[], object]
_Arguments = ParamSpec("_Arguments")


class prepared(Generic[_Arguments]):  # noqa: N801 - a decorator
    """Makes an op of a function that prepares a call and returns it."""

    def __init__(self, prepare: Callable[_Arguments, Call]) -> None:
        self.prepare = prepare
        update_wrapper(self, prepare)

    def __call__(self, *arguments: _Arguments.args, **options: _Arguments.kwargs) -> None:
        """Do the op at once."""
        self.prepare(*arguments, **options)()


def bind(op: Callable[..., Any], *arguments: Any, **options: Any) -> Call:
    """The call of an op on these arrays, prepared if the op is."""
    make = op.prepare if isinstance(op, prepared) else partial(partial, op)
    call: Call = make(*arguments, **options)
    return call


def bind_blocks(op: Callable[..., Any], *arrays: Array | None) -> Call:
    """The call of an op on a block of the arrays' rows at a time.

    Only a single block is prepared: for thousands, the views would take more memory than time.
    """
    first = arrays[0]
    if first is None or first.size <= BLOCK:
        return bind(op, *arrays)

    def of_block(number: int, *blocks: Array | None) -> None:
        op(*blocks)

    return partial(each_block, of_block, *arrays)
