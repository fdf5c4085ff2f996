"""The backend on the CPU with numba: where a chain of NumPy calls goes through main memory again
and again, or is too short to pay for its calls, one compiled loop does the same.

It is the NumPy backend in everything else: arrays, memory, and all ops that have no function here.
"""  # noqa: D205

from __future__ import annotations

import numba
import numpy as np

from gpunet.backend.cpu import CpuBackend
from gpunet.backend.cpu.compiled import (
    activations,
    channel_norms,
    gemm,
    losses,
    memory,
    optimizers,
    recurrent,
    row_norms,
)
from gpunet.backend.spec import OPS

FAMILIES = (activations, channel_norms, gemm, losses, memory, optimizers, recurrent, row_norms)
FUNCTIONS = {
    name: getattr(family, name)
    for family in FAMILIES
    for name, op in OPS.items()
    if family.__name__.endswith(f".{op.family}") and hasattr(family, name)
}
"""The ops that are compiled; each of the same name and signature as its NumPy function."""


def _version(module: object) -> str:
    return ".".join(str(module.__version__).split(".")[:2])  # type: ignore[attr-defined]


class CompiledBackend(CpuBackend):
    """NumPy arrays in main memory; some ops are loops that numba compiles."""

    name = "numba"
    description = f"NumPy {_version(np)} and numba {_version(numba)} on the CPU"

    def __init__(self) -> None:
        super().__init__()
        self.ops |= FUNCTIONS
