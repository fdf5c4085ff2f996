"""NVRTC and nvdisasm from NVIDIA's packages on PyPI, without a driver and without CuPy."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import re
import subprocess
import tempfile
from pathlib import Path

from gpunet.errors import KernelError, MissingDependency

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
"""The compute capabilities that the kernels are compiled for, times ten: Turing to Blackwell."""


class Toolkit:
    """NVIDIA's compiler and disassembler in one environment.

    Args:
        folders: where to look; the default is the package ``nvidia`` of this environment, which
            all of NVIDIA's wheels share.

    Raises:
        MissingDependency: one of the three packages is not installed.
    """

    def __init__(self, folders: list[Path] | None = None) -> None:
        folders = _nvidia_folders() if folders is None else folders
        self.library = _newest(folders, "*/lib/libnvrtc.so.*")
        self.headers = _newest(folders, "*/include/cuda_fp16.h").parent
        self.disassembler = _newest(folders, "*/bin/nvdisasm")
        self._nvrtc = _load(self.library)

    @property
    def version(self) -> str:
        """NVRTC's version."""
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        return f"{major.value}.{minor.value}"

    def compile(
        self, source: str, name: str, options: tuple[str, ...], architecture: int
    ) -> tuple[bytes, str]:
        """Compile a CUDA source.

        Args:
            source: its text.
            name: what messages call it.
            options: NVRTC's options; those that CuPy always adds are added.
            architecture: the compute capability times ten, 90 for a H100.

        Returns:
            The machine code (a cubin) and the assembler's report on each kernel.

        Raises:
            KernelError: the source does not compile; the message is the compiler's.
        """
        options = (
            *options,
            f"-arch=sm_{architecture}",
            f"-I{self.headers}",
            "-ftz=true",  # CuPy compiles all kernels so
            "--ptxas-options=-v",
        )
        program = ctypes.c_void_p()
        self._call(
            "nvrtcCreateProgram",
            *(ctypes.byref(program), source.encode(), name.encode(), 0, None, None),
        )
        try:
            texts = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
            result = self._nvrtc.nvrtcCompileProgram(program, len(options), texts)
            log = self._output(program, "ProgramLog").rstrip(b"\0").decode(errors="replace")
            if result:
                raise KernelError(f"{name} does not compile for sm_{architecture}:\n{log}")
            return self._output(program, "CUBIN"), log
        finally:
            self._nvrtc.nvrtcDestroyProgram(ctypes.byref(program))

    def disassemble(self, cubin: bytes) -> str:
        """The instructions in a cubin, function by function."""
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(cubin)
            file.flush()
            command = [str(self.disassembler), "--print-code", "--no-dataflow", file.name]
            result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if result.returncode:
            raise KernelError(f"nvdisasm cannot read a cubin: {result.stderr.strip()}")
        return result.stdout

    def _output(self, program: ctypes.c_void_p, what: str) -> bytes:
        """The result of nvrtcGet<what>, whose size another function tells."""
        size = ctypes.c_size_t()
        self._call(f"nvrtcGet{what}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self._call(f"nvrtcGet{what}", program, buffer)
        return buffer.raw

    def _call(self, function: str, *args: object) -> None:
        result = getattr(self._nvrtc, function)(*args)
        if result:
            reason = self._nvrtc.nvrtcGetErrorString(result).decode()
            raise KernelError(f"{function} of {self.library.name} failed: {reason}.")


def _nvidia_folders() -> list[Path]:
    package = importlib.util.find_spec("nvidia")
    locations = package.submodule_search_locations if package else None
    return [Path(location) for location in locations or ()]


def _newest(folders: list[Path], pattern: str) -> Path:
    """The file with the highest version in its path: packages of CUDA 12 may lie beside 13."""
    found = [path for folder in folders for path in folder.glob(pattern)]
    if not found:
        raise MissingDependency(
            f"compiling kernels for GPUs needs NVIDIA's compiler, of which {pattern[2:]} is not "
            "installed: python -m pip install 'gpunet[kernels]'"
        )
    return max(found, key=lambda path: [int(number) for number in re.findall(r"\d+", path.name)])


@functools.cache
def _load(library: Path) -> ctypes.CDLL:
    nvrtc = ctypes.CDLL(str(library))
    nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
    return nvrtc
