"""RawModule and RawKernel: CuPy's way to compile and launch one's own CUDA source."""

from __future__ import annotations

import math
import operator
import weakref
from collections.abc import Sequence
from typing import Any

from gpunet.emulator import build, checking, queues, records, trace
from gpunet.emulator import module as compiled
from gpunet.emulator.arguments import pack
from gpunet.emulator.array import ndarray
from gpunet.emulator.faults import CUDADriverError, KernelFault
from gpunet.emulator.memory import Memory
from gpunet.emulator.pointers import MemoryPointer
from gpunet.emulator.queues import Work
from gpunet.emulator.records import LaunchRecord
from gpunet.emulator.regions import Given, Regions, given
from gpunet.emulator.reports import report

MAX_THREADS_PER_BLOCK = 1024
_MAX_GRID = (2**31 - 1, 65535, 65535)
_MAX_BLOCK = (1024, 1024, 64)
SHARED_MEMORY = 48 * 1024
SHARED_MEMORY_OPTIN = 163 * 1024  # compute capability 8.0


class RawModule:
    """CUDA source, compiled when first needed; a look-alike of ``cupy.RawModule``.

    Args:
        code: The source.
        path: Not supported: there are no cubin files for a CPU.
        options: NVRTC options; macros, include paths and the C++ standard count.
        backend: ``"nvrtc"``.
        translate_cucomplex: Not supported.
        enable_cooperative_groups: Not supported.
        name_expressions: Template instances to compile, for instance ``["scale<float>"]``.
        jitify: Not supported.
    """

    def __init__(
        self,
        *,
        code: str | None = None,
        path: str | None = None,
        options: tuple[str, ...] = (),
        backend: str = "nvrtc",
        translate_cucomplex: bool = False,
        enable_cooperative_groups: bool = False,
        name_expressions: Sequence[str] | None = None,
        jitify: Any = None,
    ) -> None:
        if (code is None) == (path is None):
            raise TypeError("Exactly one of `code` and `path` keyword arguments must be given.")
        if code is None:
            raise NotImplementedError("the emulator compiles source code, and has no cubin files.")
        if not isinstance(options, tuple):
            raise TypeError(
                "Argument 'options' has incorrect type "
                f"(expected tuple, got {type(options).__name__})"
            )
        if enable_cooperative_groups or translate_cucomplex or jitify:
            raise NotImplementedError(
                "the emulator has no cooperative groups, cuComplex translation or jitify."
            )
        self.code = code
        self.options = options
        self.backend = backend
        self.name_expressions = None if name_expressions is None else tuple(name_expressions)
        self._modules: dict[str, compiled.Module] = {}  # by build profile

    def compile(self, log_stream: Any = None) -> None:
        """Compile now, and not at the first use.

        Raises:
            CompileException: The compiler refuses the source.
        """
        self._loaded()

    def get_function(self, name: str) -> RawKernel:
        """Return the kernel of this name.

        Raises:
            CUDADriverError: There is no ``extern "C"`` kernel and no name expression like this.
        """
        self._kernel(name)
        return RawKernel._of(self, name)

    def _kernel(self, name: str) -> compiled.Kernel:
        kernels = self._loaded().kernels
        if name not in kernels:
            raise CUDADriverError(
                f"CUDA_ERROR_NOT_FOUND: named symbol not found: {name!r} is none of the kernels "
                f'{sorted(kernels)}; declare it extern "C", or list it in name_expressions'
            )
        return kernels[name]

    def _loaded(self) -> compiled.Module:
        profile = build.profile().name
        if profile not in self._modules:
            self._modules[profile] = compiled.load(
                self.code, self.options, self.name_expressions or ()
            )
        return self._modules[profile]


class RawKernel:
    """A kernel to launch; a look-alike of ``cupy.RawKernel``.

    Args:
        code: The source.
        name: The kernel's name in it.
        options: As for `RawModule`, like the other keywords.
        keywords: ``backend``, ``translate_cucomplex``, ``enable_cooperative_groups``, ``jitify``.
    """

    def __init__(
        self, code: str, name: str, options: tuple[str, ...] = (), **keywords: Any
    ) -> None:
        self._setup(RawModule(code=code, options=options, **keywords), name)

    @classmethod
    def _of(cls, module: RawModule, name: str) -> RawKernel:
        kernel = cls.__new__(cls)
        kernel._setup(module, name)
        return kernel

    def _setup(self, module: RawModule, name: str) -> None:
        self._module = module
        self.name = name
        self.code = module.code
        self.options = module.options
        self.backend = module.backend
        self._max_dynamic_shared = SHARED_MEMORY

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        """Most bytes of dynamic shared memory that a launch may ask for; 48 KB unless raised."""
        return self._max_dynamic_shared

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size: int) -> None:
        if not 0 <= size <= SHARED_MEMORY_OPTIN:
            raise CUDADriverError(
                f"CUDA_ERROR_INVALID_VALUE: invalid argument: {size} bytes of shared memory, "
                f"the device has {SHARED_MEMORY_OPTIN}"
            )
        self._max_dynamic_shared = int(size)

    @property
    def max_threads_per_block(self) -> int:
        """Most threads that a block of this kernel may have."""
        return self._module._kernel(self.name).max_threads or MAX_THREADS_PER_BLOCK

    def compile(self, log_stream: Any = None) -> None:
        """Compile now, and not at the first launch."""
        self._module.compile()

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: Sequence[Any],
        *,
        shared_mem: int = 0,
        stream: Any = None,
    ) -> None:
        """Launch the kernel, and return when it has finished; or let a capture record it.

        Raises:
            KernelFault: The arguments do not fit, or the kernel misbehaved.
        """
        kernel = self._module._kernel(self.name)
        grid, block = _extent("grid", grid), _extent("block", block)
        packed = pack(self.name, kernel.parameters, args)
        record = LaunchRecord(self.name, grid, block, int(shared_mem), packed)
        self._check_extents(record, kernel.max_threads)
        queue = queues.current() if stream is None else queues.queue_of(stream.ptr)
        if queue.usable_capture() is None:
            records.launched(record)
        memories = {n: memory for n, arg in enumerate(args) if (memory := _memory_of(arg))}
        # Weakly, so that a graph does not keep what CuPy's does not keep.
        places = {number: weakref.ref(memory) for number, memory in memories.items()}
        known = given(kernel.parameters, args)
        work = Work(
            f"kernel {self.name!r}",
            lambda: _run(kernel, record, places, known),
            tuple(memories.values()),
        )
        queue.submit(work)

    def _check_extents(self, launch: LaunchRecord, launch_bound: int) -> None:
        threads = math.prod(launch.block)
        problem = ""
        if threads > MAX_THREADS_PER_BLOCK:
            problem = f"block {launch.block} has {threads} threads, a block may have 1024"
        elif launch_bound and threads > launch_bound:
            problem = f"block {launch.block} is over __launch_bounds__({launch_bound})"
        elif any(n > limit for n, limit in zip(launch.block, _MAX_BLOCK, strict=True)):
            problem = f"block {launch.block} is over the limit {_MAX_BLOCK}"
        elif any(n > limit for n, limit in zip(launch.grid, _MAX_GRID, strict=True)):
            problem = f"grid {launch.grid} is over the limit {_MAX_GRID}"
        elif not 0 <= launch.shared_mem <= self._max_dynamic_shared:
            problem = (
                f"shared_mem={launch.shared_mem} is over the limit {self._max_dynamic_shared}, "
                "raise kernel.max_dynamic_shared_size_bytes"
            )
        if problem:
            raise KernelFault(f"kernel {self.name!r}: {problem}.")


def _run(
    kernel: compiled.Kernel,
    launch: LaunchRecord,
    places: dict[int, weakref.ref[Memory]],
    known: tuple[Given, ...],
) -> None:
    """Run a kernel and check the red zones of its arguments' memory."""
    traces = trace.current()
    regions = None
    observers = 0 if traces is None else compiled.WITH_TRACE
    if traces is None and kernel.module.checks:
        regions, observers = Regions(kernel, known, launch.shared_mem), compiled.WITH_CHECKS
    crash = kernel.run(
        launch.grid,
        launch.block,
        launch.arguments,
        launch.shared_mem,
        observers=observers,
        seed=checking.seed(),
        regions=None if regions is None else regions.table,
    )
    if traces is not None:
        module = kernel.module
        traces.append(
            trace.Trace(
                launch.name,
                launch.grid,
                launch.block,
                trace.read(module.runtime),
                module.access_line,
                module.shared_memory(launch.shared_mem),
                module.image(),
            )
        )
    memories = {number: memory for number, place in places.items() if (memory := place())}
    damage = _damage(memories)
    if crash is not None and crash.kind and regions is not None:
        raise KernelFault(f"kernel {launch.name!r}: {report(crash, regions)}.")
    if crash is not None:
        where = _near(crash.address, memories)
        raise KernelFault(f"kernel {launch.name!r}: {crash}{where}{damage}.")
    if damage:
        raise KernelFault(f"kernel {launch.name!r}{damage}.")


def _extent(name: str, extent: tuple[int, ...]) -> tuple[int, int, int]:
    if not isinstance(extent, tuple):
        raise TypeError(
            f"Argument {name!r} has incorrect type (expected tuple, got {type(extent).__name__})"
        )
    # A size of 0 counts as 1, as in CuPy (cupy/cuda/function.pyx): the caller skips empty launches.
    x, y, z = (*(max(1, operator.index(n)) for n in extent[:3]), 1, 1, 1)[:3]
    return x, y, z


def _memory_of(argument: Any) -> Memory | None:
    if isinstance(argument, ndarray):
        return argument._memory
    return argument.mem if isinstance(argument, MemoryPointer) else None


def _damage(memories: dict[int, Memory]) -> str:
    """Say which array's red zone the kernel overwrote, or return ""."""
    for number, memory in memories.items():
        where = memory.damage()
        if where is not None:
            return f": wrote outside of argument {number}, {where}"
    return ""


def _near(address: int | None, memories: dict[int, Memory]) -> str:
    """Say where a bad address lies in terms of the arguments."""
    if address is None:
        return ""
    if address < 4096:
        return ": null pointer" if address == 0 else f": null pointer + {address} bytes"
    ends = {number: memory.ptr + memory.size for number, memory in memories.items()}
    after = [(address - end, number) for number, end in ends.items() if address >= end]
    if after:
        distance, number = min(after)
        if distance < 2**34:  # farther away it has nothing to do with the array
            return f": address {address:#x}, {distance} bytes past the end of argument {number}"
    return f": address {address:#x}"
