"""Optimizers that follow the gradient and its running mean: SGD and Lion."""

from __future__ import annotations

from typing import Any, ClassVar

from gpunet.arguments import BELOW_1, BETWEEN_0_AND_1, FROM_0_TO_1
from gpunet.engine.recorder import Recorder
from gpunet.optimizers.base import Optimizer
from gpunet.optimizers.buffers import UpdateBuffers


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if wanted.

    w -= learning_rate * dw, or with momentum: velocity = momentum * velocity - learning_rate * dw;
    w += velocity, or with nesterov: w += momentum * velocity - learning_rate * dw.

    Args:
        learning_rate: the step size: a number, a schedule, or a function without arguments.
        momentum: the share of the last step to keep, from 0 to 1.
        nesterov: whether to look ahead (Sutskever et al., 2013).
        **common: weight_decay, clipnorm, ..., name; see `Optimizer`.

    Raises:
        ArgumentError: a number that makes no sense, or an unknown name.

    Example:
        >>> SGD(learning_rate=0.1, momentum=0.9).momentum
        0.9
    """

    hypers: ClassVar = {"momentum": FROM_0_TO_1}

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(learning_rate, **common)
        self.momentum = momentum
        self.nesterov = nesterov
        self.check_own()

    @property
    def slots(self) -> dict[str, float]:
        """One velocity if there is momentum."""
        return {"velocity": 0.0} if self.momentum else {}

    def record_update(self, op: Recorder, b: UpdateBuffers) -> None:
        """One launch for all weights of a span."""
        op.sgd(
            b.weights,
            b.slots.get("velocity"),
            b.step,
            b.gradients,
            b.segments,
            b.norms,
            b.hyper,
            nesterov=self.nesterov,
            tick=b.tick,
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "nesterov": self.nesterov}


class Lion(Optimizer):
    """Lion: steps of one size in the direction of the sign of a running mean.

    w -= learning_rate * sign(beta_1 * m + (1 - beta_1) * dw); m = beta_2 * m + (1 - beta_2) * dw.

    Args:
        learning_rate: the step size; a third to a tenth of Adam's.
        beta_1: the share of the mean in the direction of the step, above 0 and below 1.
        beta_2: the decay of the mean, at least 0 and below 1.
        **common: weight_decay, clipnorm, ..., name; see `Optimizer`.

    Raises:
        ArgumentError: a number that makes no sense, or an unknown name.

    Source: Chen et al., 2023, https://arxiv.org/abs/2302.06675.

    Example:
        >>> Lion().beta_2
        0.99
    """

    hypers: ClassVar = {"beta_1": BETWEEN_0_AND_1, "beta_2": BELOW_1}

    def __init__(
        self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.99, **common: Any
    ) -> None:
        super().__init__(learning_rate, **common)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.check_own()

    @property
    def slots(self) -> dict[str, float]:
        """The running means."""
        return {"momentums": 0.0}

    def record_update(self, op: Recorder, b: UpdateBuffers) -> None:
        """One launch for all weights of a span."""
        slot = b.slots["momentums"]
        op.lion(b.weights, slot, b.step, b.gradients, b.segments, b.norms, b.hyper, tick=b.tick)
