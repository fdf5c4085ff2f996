"""compile(run_eagerly=True): layers run at every step, and each op as they call it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.backend.base import Backend
from gpunet.backend.spec import Array
from gpunet.engine.inputs import device_dtype
from gpunet.engine.passes import Pass
from gpunet.engine.recorder import Buffer, Record, Recorder, Storage
from gpunet.errors import UsageError

if TYPE_CHECKING:
    from gpunet.models import Model


class EagerRecorder(Recorder):
    """Runs ops instead of writing them down, so that layers' code sees real numbers.

    Nothing is fused, left out or shared: each buffer has memory of its own as long as somebody
    holds it. `Buffer.numpy` gives its numbers.

    Args:
        dtype: the floating-point type to compute in.
        backend: where to run.
        skips_update: whether the weights stay as they are, in a step that only adds up gradients.
    """

    def __init__(self, dtype: str, backend: Backend, skips_update: bool = False) -> None:
        super().__init__(dtype)
        self._backend = backend
        self._skips_update = skips_update
        self._memory: dict[Storage, Array] = {}

    def given(self, name: str, array: Array) -> Buffer:
        """A buffer over an array that is there."""
        return self.external(name, tuple(array.shape), np.dtype(array.dtype).name, lambda: array)

    def _take(self, record: Record) -> None:
        """Run the op."""
        if self._skips_update and record.direction == "update":
            return
        for storage in record.reads():
            if storage.resolve is None and storage not in self._memory:
                raise UsageError(
                    f"op {record.op.name} reads {storage}, which no op has written; write it first."
                )
        arrays = [None if buffer is None else self._array(buffer) for buffer in record.arrays]
        if record.function is None:
            self._backend.run(record.op.name, *arrays, **record.given())
        else:
            record.function(*arrays, **record.given())

    def _array(self, buffer: Buffer) -> Array:
        """The real array behind a handle; its memory is made, or found, at its first use."""
        storage, backend = buffer.storage, self._backend
        if storage.resolve is not None:
            if storage not in self._memory:
                self._memory[storage] = storage.resolve()
            return self._memory[storage].reshape(buffer.shape)
        if storage not in self._memory:
            self._memory[storage] = backend.empty((storage.nbytes,), "uint8")
        return backend.view(self._memory[storage], 0, buffer.shape, buffer.dtype)

    def _read(self, buffer: Buffer) -> np.ndarray[Any, Any]:
        if buffer.storage.resolve is None and buffer.storage not in self._memory:
            raise UsageError(
                f"{buffer!r} has no numbers yet: no op has written it; look at it after the op "
                "that does."
            )
        return self._backend.to_numpy(self._array(buffer))

    def _storage(
        self,
        name: str,
        nbytes: int,
        resolve: Callable[[], Array] | None = None,
        gradient: bool = False,
    ) -> Storage:
        storage = super()._storage(name, nbytes, resolve, gradient)
        storage.reader = self._read
        return storage


def infer_eagerly(model: Model, arrays: Sequence[Array]) -> list[np.ndarray[Any, Any]]:
    """The outputs for one batch, on the host, by layers whose ops run as they call them."""
    backend = model.backend
    op = EagerRecorder(model.dtype, backend)
    inputs = []
    for tensor, array in zip(model.graph.inputs, arrays, strict=True):
        dtype = device_dtype(tensor, model.dtype)
        host = backend.to_numpy(array) if backend.owns(array) else np.asarray(array)
        values = backend.from_numpy(np.ascontiguousarray(host, dtype))
        inputs.append(op.given(tensor.name, values))
    drawn = None
    if any(node.options.get("training") for node in model.graph.nodes):
        drawn = op.given("random", backend.from_numpy(model.next_random_state()))
    outputs = Pass(model.graph, op, len(arrays[0]), False, drawn).forward(inputs)
    return [y.numpy() for y in outputs]
