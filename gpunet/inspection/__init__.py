"""What the CUDA kernels compile to, found out on a machine without a GPU.

NVIDIA's own run-time compiler (NVRTC) comes as a package from PyPI and needs neither a driver nor
a device: `toolkit` finds it and compiles a source for any architecture, `code` reads what became of
each kernel (registers, spills, shared memory, the widths of its loads and stores), and `occupancy`
says how many of its warps a multiprocessor can hold. The packages are the extra
``gpunet[kernels]``.
"""

from gpunet.inspection.code import KernelCode, inspect_kernels, inspect_source
from gpunet.inspection.occupancy import occupancy
from gpunet.inspection.toolkit import ARCHITECTURES, Toolkit

__all__ = [
    "ARCHITECTURES",
    "KernelCode",
    "Toolkit",
    "inspect_kernels",
    "inspect_source",
    "occupancy",
]
