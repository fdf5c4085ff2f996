"""What goes wrong on the emulated device: gpunet's own reports, and CuPy's errors."""

from __future__ import annotations

from gpunet.errors import KernelError


class KernelFault(KernelError):
    """A kernel misbehaved, or was launched with arguments that it does not take."""


class CompileException(Exception):
    """The compiler refused a kernel's source; the text is the compiler's.

    Args:
        message: What the compiler wrote.
        source: The kernel's source.
        name: The file name under which it was compiled.
        options: The options it was compiled with.
        backend: Always ``"nvrtc"``.
    """

    def __init__(
        self,
        message: str,
        source: str,
        name: str,
        options: tuple[str, ...],
        backend: str = "nvrtc",
    ) -> None:
        self._message = message
        self.source = source
        self.name = name
        self.options = options
        self.backend = backend
        super().__init__(message, source, name, options, backend)

    def __str__(self) -> str:
        return self._message

    def get_message(self) -> str:
        """Return the compiler's message."""
        return self._message


class CUDARuntimeError(RuntimeError):
    """An error of the CUDA runtime, as ``cupy.cuda.runtime.CUDARuntimeError``."""


class CUDADriverError(RuntimeError):
    """An error of the CUDA driver, as ``cupy.cuda.driver.CUDADriverError``."""
