"""The plan of inference: a batch in, the outputs out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.backend.spec import Array
from gpunet.engine.passes import Pass
from gpunet.engine.plan import Plan
from gpunet.engine.recorder import Recorder
from gpunet.engine.run import Lease, model_input_buffers, write

if TYPE_CHECKING:
    from gpunet.models import Model


class InferPlan:
    """Forward without training, for batches of one shape.

    Args:
        model: the model.
        shapes: the shape of a batch of each input.
        dtypes: the dtypes in which the inputs come.
    """

    def __init__(
        self, model: Model, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[str]
    ) -> None:
        op = Recorder(model.dtype)
        one_pass = Pass(model.graph, op, shapes[0][0], training=False)
        self._inputs, casts = model_input_buffers(op, model, shapes, dtypes)
        self._outputs = one_pass.forward(casts)
        self._model = model
        # Random numbers are for layers that were called with training=True.
        self._random = one_pass.random if one_pass.draws else None
        kept = [*self._inputs, *self._outputs]
        self.plan = Plan(op.records, kept if self._random is None else [self._random, *kept])

    def run(self, lease: Lease, arrays: Sequence[Array]) -> list[np.ndarray[Any, Any]]:
        """The outputs for one batch, on the host."""
        backend = lease.backend
        bound = lease.bound(self.plan, "infer", self.plan.records)
        for buffer, array in zip(self._inputs, arrays, strict=True):
            write(backend, bound[buffer], array)
        if self._random is not None:
            backend.write(bound[self._random], self._model.next_random_state())
        bound.program.run()
        return [backend.to_numpy(bound[buffer]) for buffer in self._outputs]
