"""The choice of the checked build, and of the order in which threads run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from gpunet.emulator import build

_seed: ContextVar[int] = ContextVar("_seed", default=0)


@contextlib.contextmanager
def checked(seed: int = 0) -> Iterator[None]:
    """Check every access of the kernels that are launched inside of the ``with`` block.

    The environment variable ``GPUNET_EMULATOR=checked`` does the same for a whole process. What the
    checks find is told by the module `gpunet.emulator`. Memory that was allocated outside of the
    block counts as written.

    Args:
        seed: Blocks and threads run in an order drawn with this seed; 0 is one after another.

    Raises:
        KernelFault: From a launch: a kernel misbehaved.

    Example:
        >>> import gpunet.emulator
        >>> from gpunet.emulator import KernelFault, cupy as cp
        >>> body = "{ x[threadIdx.x] = x[threadIdx.x + 1]; }"
        >>> source = 'extern "C" __global__ void shift(float* x) ' + body
        >>> shift = cp.RawKernel(source, "shift")
        >>> with gpunet.emulator.checked():
        ...     try:
        ...         shift((1,), (3,), (cp.arange(4, dtype=cp.float32),))
        ...     except KernelFault as fault:
        ...         print(str(fault).partition(" by ")[0])
        kernel 'shift': race on 'x'[1]: read
    """
    before = _seed.set(seed)
    try:
        with build.use_profile("checked"):
            yield
    finally:
        _seed.reset(before)


def seed() -> int:
    """Return the seed of the order in which blocks and threads run; 0 is one after another."""
    return _seed.get()
