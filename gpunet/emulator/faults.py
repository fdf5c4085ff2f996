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


# The names and messages of the CUDA runtime (cudaGetErrorName, cudaGetErrorString).
_RUNTIME_ERRORS = {
    1: "cudaErrorInvalidValue: invalid argument",
    2: "cudaErrorMemoryAllocation: out of memory",
    21: "cudaErrorInvalidMemcpyDirection: invalid copy direction for memcpy",
    101: "cudaErrorInvalidDevice: invalid device ordinal",
    400: "cudaErrorInvalidResourceHandle: invalid resource handle",
    401: "cudaErrorIllegalState: the operation cannot be performed in the present state",
    900: "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing",
    901: "cudaErrorStreamCaptureInvalidated: operation failed due to a previous error during "
    "capture",
    902: "cudaErrorStreamCaptureMerge: operation would result in a merge of separate capture "
    "sequences",
    903: "cudaErrorStreamCaptureUnmatched: capture was not ended in the same stream as it began",
    904: "cudaErrorStreamCaptureUnjoined: capturing stream has unjoined work",
    905: "cudaErrorStreamCaptureIsolation: dependency created on uncaptured work in another stream",
    906: "cudaErrorStreamCaptureImplicit: operation would make the legacy stream depend on a "
    "capturing blocking stream",
    907: "cudaErrorCapturedEvent: operation not permitted on an event last recorded in a "
    "capturing stream",
    908: "cudaErrorStreamCaptureWrongThread: attempt to terminate a thread-local capture sequence "
    "from another thread",
}


class CUDARuntimeError(RuntimeError):
    """An error of the CUDA runtime, as ``cupy.cuda.runtime.CUDARuntimeError``.

    Args:
        status: The error's number.

    Attributes:
        status: The error's number.
    """

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(_RUNTIME_ERRORS.get(status, f"cudaError {status}"))

    def __reduce__(self) -> tuple[type, tuple[int]]:
        return type(self), (self.status,)


class CUDADriverError(RuntimeError):
    """An error of the CUDA driver, as ``cupy.cuda.driver.CUDADriverError``.

    CuPy makes it of a number alone; this one's message says what was wrong.
    """
