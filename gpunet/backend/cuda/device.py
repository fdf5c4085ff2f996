"""One CUDA device as the ops see it: how many blocks it takes, scratch memory, and launches."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.backend.cuda.kernels import KernelCache
from gpunet.backend.cuda.products import Products
from gpunet.backend.spec import Array
from gpunet.errors import UsageError

THREADS = 256  # a block, wherever a kernel does not ask for another size
STRIP = 128  # the most columns of one block that adds up columns
_BLOCKS_PER_MULTIPROCESSOR = 8  # of 256 threads: as many as are resident on the largest devices
# A block for each multiprocessor then has 8192: two sums of 4096 columns.
_PARTIALS_PER_BLOCK = 1024
# What rows may take of a block's shared memory between passes: two of 8192 floats. Beside it lies
# what kernels declare themselves, less than 8 KB. Without being asked no device gives 48 KB.
_CACHE_BYTES = 64 * 1024
_FIXED_SHARED = 8 * 1024
_UNASKED_SHARED = 48 * 1024 - _FIXED_SHARED
_FLOAT32 = np.dtype(np.float32)
_NULL = np.uintp(0)  # what a kernel gets where an op got None


class Device:
    """The device of CuPy or its look-alike that is current when this is made.

    The scratch arrays have a fixed size, because a captured graph pins their addresses. Kernels on
    one stream use them one after another; ops must not be launched on two streams at once.

    Attributes:
        number: which one it is.
        multiprocessors: how many blocks can compute at the same time, at least.
        max_blocks: a grid of so many blocks fills the device; grid-stride loops do the rest.
        cache_bytes: the most dynamic shared memory of a kernel that keeps rows between passes.
        partials: scratch for the partial sums of a two-stage reduction, as float32.
        block_sums: the same memory as float64, two numbers for each block.
        tickets: one word for each reduction in a launch; zero between launches.
        products: who computes a matrix product.
    """

    def __init__(self, cp: Any, load_cublas: Callable[[], ctypes.CDLL] | None) -> None:
        self.number = cp.cuda.runtime.getDevice()
        properties = cp.cuda.runtime.getDeviceProperties(self.number)
        name = properties["name"]
        self.description = name.decode() if isinstance(name, bytes) else str(name)
        self.multiprocessors = int(properties["multiProcessorCount"])
        self.max_blocks = _BLOCKS_PER_MULTIPROCESSOR * self.multiprocessors
        self.partials = cp.empty(self.max_blocks * _PARTIALS_PER_BLOCK, np.float32)
        optin = int(properties["sharedMemPerBlockOptin"])
        self.cache_bytes = min(_CACHE_BYTES, optin - _FIXED_SHARED)
        self.block_sums = self.partials.view(np.float64)
        self.tickets = cp.zeros(self.max_blocks, np.uint32)
        self.products = Products(cp, load_cublas)
        self._kernels = KernelCache(cp)
        self._cp = cp
        self._constants: dict[tuple[float, ...], Array] = {}

    def check_current(self) -> None:
        """Refuse to launch on another device, which cannot read what lies on this one.

        Raises:
            UsageError: another device is current in this thread; each thread begins with number 0.
        """
        current = self._cp.cuda.runtime.getDevice()
        if current != self.number:
            raise UsageError(
                f"gpunet works on CUDA device {self.number}, which was current when it began, but "
                f"in this thread device {current} is; wrap the call in "
                f"`with cupy.cuda.Device({self.number}):`."
            )

    def constants(self, numbers: tuple[float, ...]) -> Array:
        """These numbers as float32 on the device.

        They travel at the first use and stay, as captured graphs know where they are.
        """
        if numbers not in self._constants:
            array = self._cp.empty(len(numbers), np.float32)
            array.set(np.array(numbers, np.float32))
            self._constants[numbers] = array
        return self._constants[numbers]

    def launch(
        self,
        source: str,
        symbol: str,
        real: Array | None,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: tuple[Any, ...],
        shared: int = 0,
    ) -> None:
        """Launch a kernel on the current stream.

        Args:
            source: the file in kernels/, without ending.
            symbol: the kernel's name.
            real: an array of the model's floating-point type, by which the kernel is chosen; None
                if the kernel has no such argument.
            grid: the numbers of blocks.
            block: the numbers of threads.
            args: arrays, None for null pointers, NumPy scalars of exactly the kernel's types.
            shared: bytes of dynamic shared memory.

        Raises:
            UsageError: another device is current.
        """
        self.check_current()
        dtype = _FLOAT32 if real is None else real.dtype
        kernel = self._kernels.get(source, symbol, dtype)
        if shared > _UNASKED_SHARED:
            kernel.max_dynamic_shared_size_bytes = shared
        kernel(grid, block, tuple(_NULL if a is None else a for a in args), shared_mem=shared)
