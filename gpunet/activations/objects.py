"""What an activation is to a layer: it records its forward and its backward, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite
from numbers import Real
from typing import Any

from gpunet.backend.spec import ACTIVATIONS, Array
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError, ShapeError

Shape = tuple[int | None, ...]


class Activation:
    """An activation with its arguments. `gpunet.activations.get` makes one of a name.

    Args:
        name: Keras' name, that of a function in gpunet.activations.
        **arguments: all arguments of that function but x.
    """

    def __init__(self, name: str, **arguments: Any) -> None:
        self.name = name
        self.arguments = arguments

    def __call__(self, x: Any) -> Array:
        """activation(x) of an array or numbers."""
        raise NotImplementedError

    def forward(self, op: Recorder, y: Buffer, x: Buffer, bias: Buffer | None = None) -> Buffer:
        """Record y = activation(x + bias); returns the buffer that backward needs."""
        raise NotImplementedError

    def backward(
        self, op: Recorder, dx: Buffer, dy: Buffer, saved: Buffer, dbias: Buffer | None = None
    ) -> None:
        """Record dx = dy * activation' and dbias = column sums of dx.

        Args:
            op: the recorder.
            dx: the gradient of x + bias.
            dy: the gradient of y.
            saved: what forward returned.
            dbias: the gradient of the bias, if there is one.
        """
        raise NotImplementedError

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of activation(x) for an x of this shape."""
        return shape

    def __repr__(self) -> str:
        return f"<activation {self.name}>"


class ElementWise(Activation):
    """y = f(x), element by element: the ops know f by its name in spec.ACTIVATIONS."""

    def __init__(self, name: str, **arguments: Any) -> None:
        super().__init__(name, **_numbers(name, arguments))
        self._f = _as_op_knows_it(name, self.arguments)

    def __call__(self, x: Any) -> Array:
        """f(x)."""
        from gpunet import ops  # costs 10 ms, and no training needs it

        return ops.bias_act(x, **self._f)

    def forward(self, op: Recorder, y: Buffer, x: Buffer, bias: Buffer | None = None) -> Buffer:
        """y = f(x + bias)."""
        if ACTIVATIONS[self._f["activation"]].saves == "y":
            op.bias_act(y, x, bias, **self._f)
            return y
        z = x
        if bias is not None:
            z = op.scratch(y.shape, name="z")
            op.bias_act(z, x, bias, activation="linear")
        op.bias_act(y, z, None, **self._f)
        return z

    def backward(
        self, op: Recorder, dx: Buffer, dy: Buffer, saved: Buffer, dbias: Buffer | None = None
    ) -> None:
        """dx = dy * f'."""
        needed = None if self.name == "linear" else saved
        op.bias_act_backward(dx, dbias, dy, needed, **self._f)

    def __repr__(self) -> str:
        return f"<activation {self.name}{self._f['parameters'] or ''}>"


class AlongRows(Activation):
    """y = f(x) along the last axis; what each f is, its subclasses record."""

    def __init__(self, name: str, **arguments: Any) -> None:
        super().__init__(name, **arguments)
        if self.arguments["axis"] != -1:
            raise ArgumentError(
                f"{self.name} works along the last axis, axis=-1, got {self.arguments['axis']!r}; "
                "move that axis to the end first."
            )

    def __call__(self, x: Any) -> Array:
        """f(x)."""
        from gpunet import ops

        result: Array = getattr(ops, self.name)(x)
        return result

    def forward(self, op: Recorder, y: Buffer, x: Buffer, bias: Buffer | None = None) -> Buffer:
        """y = f(x + bias)."""
        logits = x
        if bias is not None:
            logits = op.scratch(x.shape, name="logits")
            op.bias_act(logits, x, bias, activation="linear")
        return self.record(op, y, logits)

    def backward(
        self, op: Recorder, dx: Buffer, dy: Buffer, saved: Buffer, dbias: Buffer | None = None
    ) -> None:
        """dx = the gradient of the rows, dbias = column sums of dx."""
        dlogits = dx if dbias is None else op.scratch(dx.shape, name="dlogits")
        self.record_backward(op, dlogits, dy, saved)
        if dbias is not None:
            op.bias_act_backward(dx, dbias, dlogits, None, activation="linear")

    def record(self, op: Recorder, y: Buffer, x: Buffer) -> Buffer:
        """Record y = f(x); returns what the gradient needs."""
        raise NotImplementedError

    def record_backward(self, op: Recorder, dx: Buffer, dy: Buffer, saved: Buffer) -> None:
        """Record dx."""
        raise NotImplementedError


class Softmax(AlongRows):
    """Softmax. A cross-entropy that follows is computed from its logits."""

    def record(self, op: Recorder, y: Buffer, x: Buffer) -> Buffer:
        """y = exp(x) / sum(exp(x))."""
        op.softmax(y, x)
        return y

    def record_backward(self, op: Recorder, dx: Buffer, dy: Buffer, saved: Buffer) -> None:
        """dx = y * (dy - sum(dy * y))."""
        op.softmax_backward(dx, dy, saved)


class LogSoftmax(AlongRows):
    """The logarithm of softmax, with all digits where softmax is nearly 0."""

    def record(self, op: Recorder, y: Buffer, x: Buffer) -> Buffer:
        """y = x - log(sum(exp(x)))."""
        op.log_softmax(y, x)
        return y

    def record_backward(self, op: Recorder, dx: Buffer, dy: Buffer, saved: Buffer) -> None:
        """dx = dy - exp(y) * sum(dy)."""
        op.log_softmax_backward(dx, dy, saved)


class GLU(AlongRows):
    """The gated linear unit: half of the features gate the other half."""

    def output_shape(self, shape: Shape) -> Shape:
        """(..., features / 2)."""
        features = shape[-1]
        if features is None or features % 2:
            raise ShapeError(f"glu halves the last axis, which must be even, got {shape}.")
        return (*shape[:-1], features // 2)

    def record(self, op: Recorder, y: Buffer, x: Buffer) -> Buffer:
        """y = a * sigmoid(b), x = (a, b)."""
        op.glu(y, _halves(x))
        return x

    def record_backward(self, op: Recorder, dx: Buffer, dy: Buffer, saved: Buffer) -> None:
        """da = dy * sigmoid(b), db = dy * a * sigmoid'(b)."""
        op.glu_backward(_halves(dx), dy, _halves(saved))


def _halves(x: Buffer) -> Buffer:
    return x.reshape(-1, 2, x.shape[-1] // 2)


def _numbers(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as plain numbers, of the signs for which y tells the gradient."""
    checked = dict(arguments)
    for key, value in arguments.items():
        if key == "approximate" or (key == "max_value" and value is None):
            continue
        least = {"celu alpha": " > 0", "squareplus b": " > 0"}.get(f"{name} {key}", " >= 0")
        if name == "threshold":
            least = ""
        good = isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)
        if not good or (least and value < 0) or (least == " > 0" and value == 0):
            raise ArgumentError(f"{name} takes a number{least} for {key}, got {value!r}.")
        checked[key] = float(value)
    return checked


def _as_op_knows_it(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments ``activation`` and ``parameters`` of `bias_act`."""
    values = dict(arguments)
    if name == "relu":
        bound = values["max_value"]
        if values == {"negative_slope": 0, "max_value": None, "threshold": 0}:
            values = {}
        elif bound is None and values["threshold"] == 0:
            name, values = "leaky_relu", {"negative_slope": values["negative_slope"]}
        else:
            name, values["max_value"] = "bounded_relu", inf if bound is None else bound
    elif name == "gelu":
        name, values = "gelu_tanh" if values["approximate"] else "gelu", {}
    if name == "leaky_relu" and values["negative_slope"] == 0:
        name, values = "relu", {}
    entry = ACTIVATIONS[name].parameters
    parameters = tuple(values[key] for key in entry)
    default = parameters == tuple(entry.values())
    return {"activation": name, "parameters": () if default else parameters}
