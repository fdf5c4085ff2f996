"""Optimizers that scale each weight's step by the size of its gradients alone."""

from __future__ import annotations

from typing import Any, ClassVar

from gpunet.arguments import AT_LEAST_0, BELOW_1
from gpunet.engine.recorder import Recorder
from gpunet.optimizers.base import Optimizer
from gpunet.optimizers.buffers import UpdateBuffers


class RMSprop(Optimizer):
    """RMSprop: steps divided by the root of a running mean square.

    v = rho v + (1 - rho) dw^2; change = learning_rate dw / sqrt(v + epsilon); centered, v is the
    variance v - (running mean of dw)^2; w -= change, or with momentum
    m = momentum m + change; w -= m.

    Args:
        learning_rate: the step size: a number, a schedule, or a function without arguments.
        rho: the decay of the mean square, at least 0 and below 1.
        momentum: the share of the last step to keep, at least 0 and below 1.
        epsilon: a small number against division by zero; inside of the root, as in Keras.
        centered: whether to divide by the standard deviation.
        **common: weight_decay, clipnorm, ..., name; see `Optimizer`.

    Raises:
        ArgumentError: a number that makes no sense, or an unknown name.

    Source: Hinton, 2012, http://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf.

    Example:
        >>> RMSprop(momentum=0.9).slots
        {'velocities': 0.0, 'momentums': 0.0}
    """

    hypers: ClassVar = {"rho": BELOW_1, "momentum": BELOW_1, "epsilon": AT_LEAST_0}

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(learning_rate, **common)
        self.rho = rho
        self.momentum = momentum
        self.epsilon = epsilon
        self.centered = centered
        self.check_own()

    @property
    def slots(self) -> dict[str, float]:
        """Mean squares, and what momentum and centered need."""
        slots = {"velocities": 0.0}
        if self.momentum:
            slots["momentums"] = 0.0
        if self.centered:
            slots["average_gradients"] = 0.0
        return slots

    def record_update(self, op: Recorder, b: UpdateBuffers) -> None:
        """One launch for all weights of a span."""
        op.rmsprop(
            b.weights,
            b.slots["velocities"],
            b.slots.get("momentums"),
            b.slots.get("average_gradients"),
            b.step,
            b.gradients,
            b.segments,
            b.norms,
            b.hyper,
            tick=b.tick,
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "centered": self.centered}


class Adagrad(Optimizer):
    """Adagrad: steps divided by the root of the sum of all squares so far.

    s += dw^2; w -= learning_rate dw / sqrt(s + epsilon).

    Args:
        learning_rate: the step size: a number, a schedule, or a function without arguments.
        initial_accumulator_value: what s starts from, at least 0.
        epsilon: a small number against division by zero.
        **common: weight_decay, clipnorm, ..., name; see `Optimizer`.

    Raises:
        ArgumentError: a number that makes no sense, or an unknown name.

    Source: Duchi et al., 2011, https://jmlr.org/papers/v12/duchi11a.html.

    Example:
        >>> Adagrad().slots
        {'accumulators': 0.1}
    """

    hypers: ClassVar = {"epsilon": AT_LEAST_0}

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **common: Any,
    ) -> None:
        super().__init__(learning_rate, **common)
        AT_LEAST_0.check(self, "initial_accumulator_value", initial_accumulator_value)
        self.initial_accumulator_value = initial_accumulator_value
        self.epsilon = epsilon
        self.check_own()

    @property
    def slots(self) -> dict[str, float]:
        """The sums of squares."""
        return {"accumulators": float(self.initial_accumulator_value)}

    def record_update(self, op: Recorder, b: UpdateBuffers) -> None:
        """One launch for all weights of a span."""
        slot = b.slots["accumulators"]
        op.adagrad(b.weights, slot, b.step, b.gradients, b.segments, b.norms, b.hyper, tick=b.tick)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        initial = self.initial_accumulator_value
        return {**super().get_config(), "initial_accumulator_value": initial}


class Adadelta(Optimizer):
    """Adadelta: steps as large as recent steps were, in units of recent gradients.

    s = rho s + (1 - rho) dw^2; change = dw sqrt(d + epsilon) / sqrt(s + epsilon);
    d = rho d + (1 - rho) change^2; w -= learning_rate change.

    Args:
        learning_rate: the step size: a number, a schedule, or a function without arguments; 1.0 is
            the paper's.
        rho: the decay of both mean squares, at least 0 and below 1.
        epsilon: a small number from which the first steps come.
        **common: weight_decay, clipnorm, ..., name; see `Optimizer`.

    Raises:
        ArgumentError: a number that makes no sense, or an unknown name.

    Source: Zeiler, 2012, https://arxiv.org/abs/1212.5701.

    Example:
        >>> Adadelta(learning_rate=1.0).rho
        0.95
    """

    hypers: ClassVar = {"rho": BELOW_1, "epsilon": AT_LEAST_0}

    def __init__(
        self, learning_rate: Any = 0.001, rho: float = 0.95, epsilon: float = 1e-7, **common: Any
    ) -> None:
        super().__init__(learning_rate, **common)
        self.rho = rho
        self.epsilon = epsilon
        self.check_own()

    @property
    def slots(self) -> dict[str, float]:
        """Mean squares of gradients and of changes."""
        return {"accumulated_gradients": 0.0, "accumulated_changes": 0.0}

    def record_update(self, op: Recorder, b: UpdateBuffers) -> None:
        """One launch for all weights of a span."""
        op.adadelta(
            b.weights,
            b.slots["accumulated_gradients"],
            b.slots["accumulated_changes"],
            b.step,
            b.gradients,
            b.segments,
            b.norms,
            b.hyper,
            tick=b.tick,
        )
