"""What a backend is: the contract's ops under their names, and memory on one device."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence, Set
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.backend.contract import OPS
from gpunet.backend.spec import Array
from gpunet.backend.uploads import Uploads

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


def functions_of(*families: ModuleType) -> dict[str, Callable[..., None]]:
    """Each op's function, found by its name in the module of its family."""
    modules = {module.__name__.rpartition(".")[2]: module for module in families}
    return {name: getattr(modules[op.family], name) for name, op in OPS.items()}


class Backend(ABC):
    """One device: its memory, and each op of the contract as a function of its arrays.

    Attributes:
        name: "numpy", "numba", "cupy" or "emulator".
        description: what runs where, in a few words, for summary() and repr.
        ops: op name -> a function with exactly the contract's signature.
    """

    name: str
    description: str
    ops: dict[str, Callable[..., None]]

    @abstractmethod
    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """A new array whose contents are undefined."""

    @abstractmethod
    def from_numpy(self, values: np.ndarray[Any, Any]) -> Array:
        """A C-contiguous array on this device with these values (on the CPU maybe the same)."""

    @abstractmethod
    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """A copy on the host; waits for the device."""

    @abstractmethod
    def write(self, array: Array, values: np.ndarray[Any, Any]) -> None:
        """Copy host values into an existing array, converting to its dtype."""

    @abstractmethod
    def owns(self, array: object) -> bool:
        """Whether this is an array of this backend's type."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until everything launched so far has finished."""

    def run(self, op: str, *arrays: Array | None, **options: Any) -> None:
        """Run an op of this name on these arrays once."""
        self.ops[op](*arrays, **options)

    def bind(self, op: str, *arrays: Array | None, **options: Any) -> Callable[[], object]:
        """The call of an op of this name on these arrays, which a plan makes at every step."""
        return partial(self.ops[op], *arrays, **options)

    def capture(self, calls: Sequence[Callable[[], object]]) -> Callable[[], object] | None:
        """One call that does all of these again; None where that would gain nothing."""
        return None

    def run_all(self, calls: Sequence[Callable[[], object]], ops: Set[str]) -> None:
        """Make these calls, which are of these ops, in order."""
        for call in calls:
            call()

    def room(self) -> int | None:
        """How many bytes of data the device can take; None where it is the host's own memory."""
        return None

    def staging(self, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray[Any, Any]:
        """A new array on the host, of the kind that `uploads` copies from."""
        return np.empty(shape, dtype)

    def uploads(self) -> Uploads:
        """Copies from the host that may run beside the computation."""
        return Uploads(self)

    def zeros(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """A new array of zeros."""
        array = self.empty(shape, dtype)
        self.ops["fill"](array, value=0)
        return array

    def view(self, array: Array, offset: int, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """A view of a flat uint8 array from a byte offset on, with a shape and dtype of its own."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        return array[offset : offset + size].view(dtype).reshape(shape)

    def __repr__(self) -> str:
        return f"<backend {self.name}: {self.description}>"
