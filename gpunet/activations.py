"""Activations: what a layer applies to its pre-activation, forward and backward side by side."""

from __future__ import annotations

from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError
from gpunet.identifiers import lookup


class Activation:
    """An element-wise activation whose gradient needs its output y alone.

    Args:
        name: one of `gpunet.backend.spec.ACTIVATIONS`, as the op `bias_act` knows it.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def forward(self, op: Recorder, y: Buffer, x: Buffer, bias: Buffer | None = None) -> None:
        """y = activation(x + bias)."""
        op.bias_act(y, x, bias, activation=self.name)

    def backward(
        self, op: Recorder, dx: Buffer, dy: Buffer, y: Buffer, dbias: Buffer | None = None
    ) -> None:
        """dx = dy * activation'(y), dbias = column sums of dx."""
        saved = None if self.name == "linear" else y
        op.bias_act_backward(dx, dbias, dy, saved, activation=self.name)

    def __repr__(self) -> str:
        return f"<activation {self.name}>"


class SoftmaxActivation(Activation):
    """Softmax over the last axis. A cross-entropy that follows is computed from its logits."""

    def forward(self, op: Recorder, y: Buffer, x: Buffer, bias: Buffer | None = None) -> None:
        """y = softmax(x + bias)."""
        logits = op.scratch(y.shape, name="logits")
        op.bias_act(logits, x, bias, activation="linear")
        op.softmax(y, logits)

    def backward(
        self, op: Recorder, dx: Buffer, dy: Buffer, y: Buffer, dbias: Buffer | None = None
    ) -> None:
        """dx = y * (dy - sum(dy * y)), dbias = column sums of dx."""
        dlogits = op.scratch(y.shape, name="dlogits")
        op.softmax_backward(dlogits, dy, y)
        op.bias_act_backward(dx, dbias, dlogits, None, activation="linear")


_ACTIVATIONS = {
    "linear": Activation("linear"),
    "relu": Activation("relu"),
    "sigmoid": Activation("sigmoid"),
    "tanh": Activation("tanh"),
    "softmax": SoftmaxActivation("softmax"),
}


def get(identifier: str | Activation | None) -> Activation:
    """The activation of this name; None means linear.

    Raises:
        ArgumentError: no activation has this name; the message suggests one.

    Example:
        >>> get("relu")
        <activation relu>
    """
    if identifier is None:
        return _ACTIVATIONS["linear"]
    if isinstance(identifier, Activation):
        return identifier
    if not isinstance(identifier, str):
        raise ArgumentError(
            f"an activation is named by a string such as 'relu', got {identifier!r}; for one of "
            "your own write a layer with forward and backward."
        )
    return lookup(identifier, _ACTIVATIONS, "activation")
