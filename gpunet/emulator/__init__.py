"""A CUDA device in software: CUDA C++ kernels run on the CPU, behind a look-alike of CuPy.

``from gpunet.emulator import cupy as cp`` gives a module that stands in for ``cupy``: the same
launch code runs on it, and it checks what CuPy does not (argument types, launch limits, writes
outside of arrays, divergent barriers). g++ compiles the kernels, when they are first used.

There are two builds of a kernel. The fast one runs it and no more. In the checked one, which a
``with checked():`` block or ``GPUNET_EMULATOR=checked`` in the environment chooses, the compiler
puts a call in front of every load and store (include/emulator/callbacks.h), and each access goes
through checks (runtime/checker.h) that find what even a real GPU would not show:

- access outside of arrays, to the byte: past an end, in a freed array, in another array than the
  arguments, outside of the view that was passed; an index beyond an array of known size; a write
  to what the kernel takes as const (runtime/memory_map.h, regions.py);
- reads of memory that nobody has written, global and shared: such memory holds a NaN of its own;
- misaligned vectors;
- races inside of a block and between blocks: accesses that no barrier, ``__syncwarp`` or pair of
  ``__threadfence`` and atomic puts into an order, whatever order they happened to run in
  (runtime/races.h explains how that is known);
- threads that wait in a loop for what never comes.

A report is one `KernelFault` with the kernel, the array's name, ``file:line``, block and thread,
and for a race both sides of it. Both builds report missing and divergent barriers, wrong masks of
warp collectives, bad arguments and launches over the device's limits. ``checked(seed=n)`` runs
blocks and threads in an order drawn by the seed. Observers of accesses (runtime/observer.h) can do
more than check: `record_accesses` hands every one to Python. Local variables that are surely read
before they are written are a `CompileException`; those that only may be are not found. Nor is an
access that misses its array but hits another argument.

Blocks run one after another on one core, and a thread runs until it has to wait. So grid-wide
barriers never end. Not emulated: cooperative groups, tensor cores, inline PTX, textures, flushing
of denormal numbers. Streams are queues whose work runs when it is submitted, or as late as possible
inside of `late_streams`; they capture graphs as CuPy's do, and refuse what CuPy refuses.

Example:
    >>> from gpunet.emulator import cupy as cp
    >>> double = cp.RawKernel(
    ...     'extern "C" __global__ void twice(float* x) { x[threadIdx.x] *= 2; }', "twice"
    ... )
    >>> x = cp.arange(3, dtype=cp.float32)
    >>> double((1,), (3,), (x,))
    >>> x
    array([0., 2., 4.], dtype=float32)

    One element too many:

    >>> from gpunet.emulator import KernelFault, checked
    >>> with checked():
    ...     try:
    ...         double((1,), (4,), (x,))
    ...     except KernelFault as fault:
    ...         print(fault)  # doctest: +NORMALIZE_WHITESPACE
    kernel 'twice': out-of-bounds read of 4 bytes, 0 bytes past the end of 'x' (12 bytes)
    [block (0, 0, 0), thread (3, 0, 0), kernel.cu:1].
"""

from gpunet.emulator.checking import checked
from gpunet.emulator.faults import (
    CompileException,
    CUDADriverError,
    CUDARuntimeError,
    KernelFault,
)
from gpunet.emulator.queues import late_streams
from gpunet.emulator.records import LaunchRecord, record_launches, record_synchronizations
from gpunet.emulator.trace import Trace, record_accesses

__all__ = [
    "CUDADriverError",
    "CUDARuntimeError",
    "CompileException",
    "KernelFault",
    "LaunchRecord",
    "Trace",
    "checked",
    "late_streams",
    "record_accesses",
    "record_launches",
    "record_synchronizations",
]
