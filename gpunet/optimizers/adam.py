"""Adam and its relatives: steps scaled by running means of the gradient and of its size."""

from __future__ import annotations

from typing import Any, ClassVar

from gpunet.arguments import AT_LEAST_0, BELOW_1
from gpunet.engine.recorder import Recorder
from gpunet.errors import ArgumentError
from gpunet.optimizers.base import Optimizer
from gpunet.optimizers.buffers import UpdateBuffers


class _AdamLike(Optimizer):
    """What they share: two decays and an epsilon."""

    hypers: ClassVar = {"beta_1": BELOW_1, "beta_2": BELOW_1, "epsilon": AT_LEAST_0}

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **common: Any,
    ) -> None:
        super().__init__(learning_rate, **common)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.check_own()


class Adam(_AdamLike):
    """Adam: steps scaled by running means of the gradient and of its square.

    m += (1 - beta_1)(dw - m); v += (1 - beta_2)(dw^2 - v);
    w -= learning_rate sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon).

    Args:
        learning_rate: the step size: a number, a schedule, or a function without arguments.
        beta_1: the decay of the mean, at least 0 and below 1.
        beta_2: the decay of the mean square, at least 0 and below 1.
        epsilon: a small number against division by zero; added outside of the bias correction,
            as in Keras.
        amsgrad: whether to divide by the largest v so far (Reddi et al., 2018).
        **common: weight_decay, clipnorm, ..., name; see `Optimizer`.

    Raises:
        ArgumentError: a number that makes no sense, or an unknown name.

    Source: Kingma and Ba, 2015, https://arxiv.org/abs/1412.6980.

    Example:
        >>> Adam(amsgrad=True).slots
        {'momentums': 0.0, 'velocities': 0.0, 'velocity_hats': 0.0}
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **common)
        self.amsgrad = amsgrad

    @property
    def slots(self) -> dict[str, float]:
        """Means and mean squares, and with amsgrad the largest of these."""
        slots = {"momentums": 0.0, "velocities": 0.0}
        return {**slots, "velocity_hats": 0.0} if self.amsgrad else slots

    def record_update(self, op: Recorder, b: UpdateBuffers) -> None:
        """One launch for all weights of a span."""
        op.adam(
            b.weights,
            b.slots["momentums"],
            b.slots["velocities"],
            b.slots.get("velocity_hats"),
            b.step,
            b.gradients,
            b.segments,
            b.norms,
            b.hyper,
            tick=b.tick,
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "amsgrad": self.amsgrad}


class AdamW(Adam):
    """`Adam` whose weights decay: weight_decay is 0.004 and must be a number.

    Args:
        learning_rate: the step size: a number, a schedule, or a function without arguments.
        weight_decay: the share of the weights that a step takes off, times the learning rate.
        beta_1: the decay of the mean, at least 0 and below 1.
        beta_2: the decay of the mean square, at least 0 and below 1.
        epsilon: a small number against division by zero.
        amsgrad: whether to divide by the largest v so far.
        **common: clipnorm, ..., name; see `Optimizer`.

    Raises:
        ArgumentError: a number that makes no sense, or an unknown name.

    Source: Loshchilov and Hutter, 2019, https://arxiv.org/abs/1711.05101.

    Example:
        >>> AdamW().weight_decay
        0.004
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **common: Any,
    ) -> None:
        if weight_decay is None:
            raise ArgumentError("AdamW takes a number for weight_decay, got None; Adam needs none.")
        super().__init__(
            learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **common
        )


class Nadam(_AdamLike):
    """Adam with Nesterov momentum.

    m and v as in `Adam`; u_t = beta_1 (1 - 0.96^t / 2), p_t = u_1 ... u_t;
    w -= learning_rate (u_(t+1) m / (1 - p_(t+1)) + (1 - u_t) dw / (1 - p_t))
    / (sqrt(v / (1 - beta_2^t)) + epsilon).

    Args:
        learning_rate: the step size: a number, a schedule, or a function without arguments.
        beta_1: the decay of the mean, at least 0 and below 1.
        beta_2: the decay of the mean square, at least 0 and below 1.
        epsilon: a small number against division by zero.
        **common: weight_decay, clipnorm, ..., name; see `Optimizer`.

    Raises:
        ArgumentError: a number that makes no sense, or an unknown name.

    Source: Dozat, 2016, https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ.

    Example:
        >>> Nadam().learning_rate
        0.001
    """

    _product = (0, 0.0, 1.0)  # (updates, beta_1, the product after so many)

    def own_values(self) -> tuple[float, ...]:
        """Also the product of all momentums so far, which the host keeps."""
        t, beta_1, product = self._product
        if beta_1 != self.beta_1 or t > self.iterations:
            t, product = 0, 1.0
        while t < self.iterations and product > 0:
            t += 1
            product *= self.beta_1 * (1.0 - 0.5 * 0.96**t)
        self._product = (t, self.beta_1, product)
        return (*super().own_values(), product)

    @property
    def slots(self) -> dict[str, float]:
        """Means and mean squares."""
        return {"momentums": 0.0, "velocities": 0.0}

    def record_update(self, op: Recorder, b: UpdateBuffers) -> None:
        """One launch for all weights of a span."""
        op.nadam(
            b.weights,
            b.slots["momentums"],
            b.slots["velocities"],
            b.step,
            b.gradients,
            b.segments,
            b.norms,
            b.hyper,
            tick=b.tick,
        )


class Adamax(_AdamLike):
    """Adam with the largest recent gradient in the place of the mean square.

    m as in `Adam`; u = max(beta_2 u, |dw|);
    w -= learning_rate / (1 - beta_1^t) * m / (u + epsilon).

    Args:
        learning_rate: the step size: a number, a schedule, or a function without arguments.
        beta_1: the decay of the mean, at least 0 and below 1.
        beta_2: the decay of the largest gradient, at least 0 and below 1.
        epsilon: a small number against division by zero.
        **common: weight_decay, clipnorm, ..., name; see `Optimizer`.

    Raises:
        ArgumentError: a number that makes no sense, or an unknown name.

    Source: Kingma and Ba, 2015, section 7, https://arxiv.org/abs/1412.6980.

    Example:
        >>> Adamax().slots
        {'momentums': 0.0, 'maxima': 0.0}
    """

    @property
    def slots(self) -> dict[str, float]:
        """Means and largest gradients."""
        return {"momentums": 0.0, "maxima": 0.0}

    def record_update(self, op: Recorder, b: UpdateBuffers) -> None:
        """One launch for all weights of a span."""
        op.adamax(
            b.weights,
            b.slots["momentums"],
            b.slots["maxima"],
            b.step,
            b.gradients,
            b.segments,
            b.norms,
            b.hyper,
            tick=b.tick,
        )
