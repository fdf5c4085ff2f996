"""The errors that gpunet raises on purpose.

Each message says in one sentence what is wrong, where, what was got, what was expected and what
to do. Every class also derives from the built-in error that NumPy or Keras users would catch.
"""

import inspect
import warnings


class GpunetError(Exception):
    """Base class of all errors raised by gpunet."""


class GpunetWarning(UserWarning):
    """What is almost always a mistake, said once before training; filter it if it is none."""


class ShapeError(GpunetError, ValueError):
    """An array or a layer has a shape that does not fit."""


class DtypeError(GpunetError, TypeError):
    """An array has a dtype that an op or a model does not take."""


class ArgumentError(GpunetError, ValueError):
    """An argument has a value that cannot be used."""


class UsageError(GpunetError, RuntimeError):
    """Calls came in an order that cannot work, for example ``fit`` before ``compile``."""


class BackendUnavailable(GpunetError, RuntimeError):
    """The requested backend cannot be used on this machine; the message says why and what helps."""


class MissingDependency(GpunetError, ImportError):
    """An optional package is needed; the message names the pip command that installs it."""


class DataUnavailable(GpunetError, FileNotFoundError):
    """A data set was not found; the message says how to get it."""


class KernelError(GpunetError, RuntimeError):
    """A CUDA kernel could not be compiled or launched."""


def warn(message: str) -> None:
    """Warn at the line of the user's call, however deep in gpunet the check stands."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").startswith("gpunet."):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, GpunetWarning, stacklevel=level)
