"""Finds, flattens, compiles and caches the CUDA sources in kernels/."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.errors import DtypeError, GpunetError, KernelError

_HEADER = "common.cuh"  # also the sentinel by which the folder is recognised
_PACKAGE = Path(__file__).parents[2]
# An installed wheel carries the sources inside the package; a checkout and an editable install
# have them beside it.
_CANDIDATES = (_PACKAGE / "kernels", _PACKAGE.parent / "kernels")

ELEMENT_TYPES = {"float32": "float", "float16": "__half", "bfloat16": "__nv_bfloat16"}
"""What a model's arrays may hold, by NumPy's name, and what C++ calls it."""


def find_kernels(candidates: tuple[Path, ...] = _CANDIDATES) -> Path:
    """The folder of the CUDA sources.

    Raises:
        KernelError: none of the candidates holds them.
    """
    for folder in candidates:
        if (folder / _HEADER).is_file():
            return folder
    places = " or ".join(str(folder) for folder in candidates)
    raise KernelError(
        f"the CUDA sources were not found: expected {_HEADER} in {places}; install gpunet again."
    )


# A kernel's symbol is its op's name; where there is one for each type or size, that follows.
_ENDINGS = "_int32|_float32|_##NAME|_tile##TILE|(_queries)?_size##SIZE|##SUFFIX"


def source_of(op: str) -> str:
    """The file in kernels/ that has an op's kernel, without ending.

    Raises:
        KernelError: none has it.
    """
    definition = re.compile(rf"(void |\)[\s\\]+|_KERNEL\(){op}({_ENDINGS})?[(,]")
    for path in sorted(find_kernels().glob("*.cu")):
        if definition.search(path.read_text(encoding="utf-8")):
            return path.stem
    raise KernelError(f"no file in {find_kernels()} has a kernel of op {op!r}.")


@functools.cache
def flattened(source: str, folder: Path | None = None) -> str:
    """The text of kernels/``source``.cu with the shared headers in place of its #includes.

    CuPy's cache of compiled kernels hashes the text, but not what it includes. The #line marks keep
    the compiler's messages true to the files.
    """
    folder = folder or find_kernels()
    lines = (folder / f"{source}.cu").read_text(encoding="utf-8").splitlines()
    for place, line in enumerate(lines):
        if line.startswith('#include "'):
            header = line.split('"')[1]
            lines[place] = "\n".join(
                (
                    f'#line 1 "{header}"',
                    (folder / header).read_text(encoding="utf-8").rstrip(),
                    f'#line {place + 2} "{source}.cu"',
                )
            )
    return "\n".join((f'#line 1 "{source}.cu"', *lines, ""))


def compile_options(dtype: np.dtype[Any]) -> tuple[str, ...]:
    """The compiler's options for kernels whose ``real`` is this dtype.

    Raises:
        DtypeError: there are no kernels for it.
    """
    if dtype.name not in ELEMENT_TYPES:
        raise DtypeError(
            f"the GPU backend computes in {', '.join(ELEMENT_TYPES)}, "
            f"got arrays of {dtype.name}; the numpy backend computes in float64."
        )
    return element_type_options(dtype.name)


def element_type_options(name: str) -> tuple[str, ...]:
    """The compiler's options for kernels whose ``real`` is this one of `ELEMENT_TYPES`."""
    return ("-std=c++17", f"-DGPUNET_REAL={ELEMENT_TYPES[name]}")


class KernelCache:
    """Compiled kernels by source, symbol and element type; each source compiles at first use."""

    def __init__(self, cp: Any) -> None:
        self._cp = cp
        self._modules: dict[tuple[str, np.dtype[Any]], Any] = {}
        self._kernels: dict[tuple[str, str, np.dtype[Any]], Any] = {}

    def get(self, source: str, symbol: str, dtype: np.dtype[Any]) -> Any:
        """The kernel ``symbol`` of kernels/``source``.cu for arrays of ``dtype``.

        Raises:
            DtypeError: there are no kernels for this dtype.
            KernelError: the source does not compile, or has no such kernel.
        """
        key = (source, symbol, dtype)
        kernel = self._kernels.get(key)
        if kernel is None:
            kernel = self._kernels[key] = self._compile(*key)
        return kernel

    def _compile(self, source: str, symbol: str, dtype: np.dtype[Any]) -> Any:
        options = compile_options(dtype)
        try:
            if (source, dtype) not in self._modules:
                code = flattened(source)
                self._modules[source, dtype] = self._cp.RawModule(code=code, options=options)
            return self._modules[source, dtype].get_function(symbol)
        except GpunetError:  # the emulator without a C++ compiler says so itself
            raise
        except Exception as error:  # CuPy, NVRTC and the driver raise types of their own
            raise KernelError(
                f"kernel {symbol!r} of kernels/{source}.cu does not compile "
                f"for {dtype.name}: {error}"
            ) from error
