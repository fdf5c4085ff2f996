"""A CUDA device in software: CUDA C++ kernels run on the CPU, behind a look-alike of CuPy.

``from gpunet.emulator import cupy as cp`` gives a module that stands in for ``cupy``: the same
launch code runs on it, and it checks what CuPy does not (argument types, launch limits, writes
outside of arrays, divergent barriers). g++ compiles the kernels, when they are first used.

Blocks run one after another on one core, in order, and a thread runs until it has to wait. So
grid-wide barriers and threads that spin until another one writes never end, races stay hidden,
and reading or writing the wrong element inside of an array goes unnoticed. Not emulated:
cooperative groups, tensor cores, inline PTX, textures, flushing of denormal numbers. Streams are
queues whose work runs when it is submitted, or as late as possible inside of `late_streams`; they
capture graphs as CuPy's do, and refuse what CuPy refuses.

Example:
    >>> from gpunet.emulator import cupy as cp
    >>> double = cp.RawKernel(
    ...     'extern "C" __global__ void twice(float* x) { x[threadIdx.x] *= 2; }', "twice"
    ... )
    >>> x = cp.arange(3, dtype=cp.float32)
    >>> double((1,), (3,), (x,))
    >>> x
    array([0., 2., 4.], dtype=float32)
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
