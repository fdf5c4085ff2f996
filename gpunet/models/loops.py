"""Passes of one's own: run, forward, backward, and the update from their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet.backend.spec import Array
from gpunet.engine.penalties import record_constraints, record_weight_penalties
from gpunet.engine.plan import Plan
from gpunet.engine.program import Program
from gpunet.engine.recorder import Recorder
from gpunet.engine.run import GradientPlan, Run, feed_dtype
from gpunet.engine.trainer import Trainer
from gpunet.errors import UsageError
from gpunet.layers.weights import block_of
from gpunet.optimizers import Optimizer


class Loops(Trainer):
    """What loops that users write themselves need of a model."""

    _run: Run | None = None

    def _dtypes(self, arrays: Sequence[Array]) -> tuple[str, ...]:
        pairs = zip(arrays, self.graph.inputs, strict=True)
        return tuple(feed_dtype(array, tensor, self.dtype) for array, tensor in pairs)

    def __call__(self, x: Any, training: bool = False) -> Any:
        """The outputs for one batch, as NumPy arrays on every device."""
        if not training:
            return self.predict_on_batch(x)
        outputs = [self.backend.to_numpy(y) for y in as_list(self.run(x, training=True).y)]
        return self.output_form.packed(outputs)

    def run(self, x: Any, training: bool = False) -> Run:
        """One pass in flight, for loops of your own.

        Args:
            x: one batch (a list where there are several inputs).
            training: whether layers such as Dropout act.

        Returns:
            A `Run` with outputs ``y`` and ``backward(dy)``.

        Example:
            >>> import numpy as np
            >>> from gpunet import Sequential, layers, optimizers
            >>> model = Sequential([layers.Dense(1, input_dim=2)])
            >>> x, target = np.ones((4, 2), np.float32), np.zeros((4, 1), np.float32)
            >>> run = model.run(x, training=True)
            >>> dx = run.backward(2 * (run.y - target) / 4)
            >>> optimizers.SGD(0.1).step(model)
        """
        self.ensure_built(x)
        arrays = self.feed(x)
        shapes, dtypes = [tuple(array.shape) for array in arrays], self._dtypes(arrays)
        key = ("gradient", *shapes, dtypes, training, self.weights_key())
        plan = self.plans.get(key, lambda: GradientPlan(self, shapes, dtypes, training))
        if training:
            self.passes += 1
        return Run(self, plan, arrays, self.passes)

    def forward(self, x: Any, training: bool = True) -> Any:
        """The outputs of one batch; `backward` must follow before the next forward.

        Raises:
            UsageError: the backward of the last forward has not been called.
        """
        if self._run is not None:
            raise UsageError(
                "forward was called twice without backward; use model.run for several passes at "
                "once, or model(x) for outputs alone."
            )
        self._run = self.run(x, training)
        return self._run.y

    def backward(self, dy: Any) -> Any:
        """The gradients of the last `forward`: those of the weights are kept, that of x returned.

        Raises:
            UsageError: forward was not called before.
        """
        if self._run is None:
            raise UsageError("backward was called without a forward before it.")
        run, self._run = self._run, None
        return run.backward(dy)

    def add_gradients(self, backward: Program, weights: bool) -> None:
        """Run a backward: gradients since the last step add up, older ones are overwritten."""
        waiting = [p for p in self.parameters if p.has_gradient and p.is_trainable and weights]
        copy, add = self.backend.ops["copy"], self.backend.ops["add"]
        saved = []
        for parameter in waiting:
            gradient = block_of(parameter).gradient(parameter)
            before = self.backend.empty(tuple(gradient.shape), gradient.dtype)
            copy(before, gradient)
            saved.append((gradient, before))
        backward.run()
        for gradient, before in saved:
            add(gradient, gradient, before)
        if weights:
            for parameter in self.parameters:
                parameter.has_gradient = parameter.is_trainable

    def apply_gradients(self, optimizer: Optimizer) -> None:
        """One optimizer step from the gradients of `Run.backward`; see `Optimizer.step`."""
        if not any(parameter.has_gradient for parameter in self.parameters):
            raise UsageError("there are no gradients to step with: call run.backward(dy) first.")
        optimizer.attach(self.backend, self.spans)
        optimizer.send_hyper()
        for parameter in self.parameters:
            if parameter.is_trainable and not parameter.has_gradient:  # nothing old may stay
                self.backend.ops["fill"](block_of(parameter).gradient(parameter), value=0.0)
        key = ("update", optimizer, self.weights_key())
        every, without_update = self.plans.get(key, lambda: self._update(optimizer))
        (every if optimizer.updates_next else without_update).run()
        optimizer.count_step()
        for parameter in self.parameters:
            parameter.has_gradient = False

    def _update(self, optimizer: Optimizer) -> tuple[Program, Program]:
        """All ops of an update, and those of a step that only adds up gradients."""
        op = Recorder(self.dtype)
        record_weight_penalties(op, self.spans, None, count=1, gradients=True)
        optimizer.record(op, self.spans)
        record_constraints(op, self.spans)
        plan = Plan(op.records, ())
        calls = plan.bind(self.backend, self.backend.empty((plan.nbytes,), "uint8"))
        ops = list(zip(plan.records, calls, strict=True))
        others = [op for op in ops if op[0].direction != "update"]
        return Program(self.backend, ops), Program(self.backend, others)


def as_list(value: Any) -> list[Any]:
    """A list or tuple as a list, anything else as a list of one."""
    return list(value) if isinstance(value, list | tuple) else [value]
