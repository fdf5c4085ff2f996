"""What an activation is to a layer: it records its forward and its backward, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite, prod
from numbers import Real
from typing import Any

from gpunet.backend.spec import ACTIVATIONS, Array
from gpunet.engine.graph import Tensor
from gpunet.engine.moves import permute
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

    def __call__(self, x: Any) -> Any:
        """activation(x) of an array or numbers; of a symbolic tensor what its layer returns."""
        return x.layer.operator("activation", x, self) if isinstance(x, Tensor) else self.values(x)

    def values(self, x: Any) -> Array:
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

    def values(self, x: Any) -> Array:
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
    """y = f(x) along an axis, or along several as if they were one.

    What each f is along the rows of a matrix, its subclasses record; other axes than the last are
    brought there and back.
    """

    def __init__(self, name: str, **arguments: Any) -> None:
        super().__init__(name, **arguments)
        axis = arguments["axis"]
        axes = tuple(axis) if isinstance(axis, list | tuple) else (axis,)
        if not axes or not all(isinstance(a, int) and not isinstance(a, bool) for a in axes):
            raise ArgumentError(f"{name} takes an axis or a list of axes, got axis={axis!r}.")
        self.arguments["axis"] = list(axes) if isinstance(axis, list | tuple) else axis
        self._axes = axes

    def values(self, x: Any) -> Array:
        """f(x)."""
        from gpunet import ops
        from gpunet.backend.dispatch import as_array

        x = as_array(x)
        order, count = self._order(len(x.shape))
        if count == 1 and order == sorted(order):
            along_rows: Array = getattr(ops, self.name)(x)
            return along_rows
        back = [order.index(axis) for axis in range(len(order))]
        moved = x.transpose(order)
        rows = moved.reshape(-1, prod(moved.shape[-count:]))
        result: Array = getattr(ops, self.name)(rows)
        return result.reshape(moved.shape).transpose(back)

    def _order(self, rank: int) -> tuple[list[int], int]:
        """All axes of an array of this rank with those of f behind the others; how many these are.

        Raises:
            ArgumentError: an axis that does not exist, or one named twice.
        """
        axes = [axis + rank if axis < 0 else axis for axis in self._axes]
        if len(set(axes)) < len(axes) or not all(0 <= axis < rank for axis in axes):
            raise ArgumentError(
                f"{self.name} has axis={self.arguments['axis']!r}, which is none of an array of "
                f"{rank} axes."
            )
        axes = sorted(axes)
        return [axis for axis in range(rank) if axis not in axes] + axes, len(axes)

    def forward(self, op: Recorder, y: Buffer, x: Buffer, bias: Buffer | None = None) -> Buffer:
        """y = f(x + bias)."""
        logits = x
        if bias is not None:
            logits = op.scratch(x.shape, name="logits")
            op.bias_act(logits, x, bias, activation="linear")
        order, count = self._order(len(x.shape))
        if order == sorted(order):
            return self.record(op, _rows(y, count), _rows(logits, count))
        shape = tuple(x.shape[axis] for axis in order)
        moved, result = op.scratch(shape), op.scratch(shape)
        permute(op, moved, logits, order)
        saved = self.record(op, _rows(result, count), _rows(moved, count))
        permute(op, y, result, [order.index(axis) for axis in range(len(order))])
        return saved

    def backward(
        self, op: Recorder, dx: Buffer, dy: Buffer, saved: Buffer, dbias: Buffer | None = None
    ) -> None:
        """dx = the gradient of the rows, dbias = column sums of dx."""
        dlogits = dx if dbias is None else op.scratch(dx.shape, name="dlogits")
        order, count = self._order(len(dx.shape))
        if order == sorted(order):
            self.record_backward(op, _rows(dlogits, count), _rows(dy, count), saved)
        else:
            shape = tuple(dx.shape[axis] for axis in order)
            moved, result = op.scratch(shape), op.scratch(shape)
            permute(op, moved, dy, order)
            self.record_backward(op, _rows(result, count), _rows(moved, count), saved)
            permute(op, dlogits, result, [order.index(axis) for axis in range(len(order))])
        if dbias is not None:
            op.bias_act_backward(dx, dbias, dlogits, None, activation="linear")

    def record(self, op: Recorder, y: Buffer, x: Buffer) -> Buffer:
        """Record y = f(x) of the rows of matrices; returns what the gradient needs."""
        raise NotImplementedError

    def record_backward(self, op: Recorder, dx: Buffer, dy: Buffer, saved: Buffer) -> None:
        """Record dx."""
        raise NotImplementedError


def _rows(x: Buffer, count: int) -> Buffer:
    """A matrix whose rows are the last axes, so many."""
    return x if count == 1 else x.reshape(-1, prod(x.shape[-count:]))


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


class Sparsemax(AlongRows):
    """The nearest probabilities to x, of which many are exactly 0 (Martins and Astudillo, 2016)."""

    def record(self, op: Recorder, y: Buffer, x: Buffer) -> Buffer:
        """y = max(x - t, 0), where t is such that they add up to 1."""
        op.sparsemax(y, x)
        return y

    def record_backward(self, op: Recorder, dx: Buffer, dy: Buffer, saved: Buffer) -> None:
        """dx = dy - the mean of dy where y > 0, else 0."""
        op.sparsemax_backward(dx, dy, saved)


class GLU(AlongRows):
    """The gated linear unit: half of the features gate the other half."""

    def __init__(self, name: str, **arguments: Any) -> None:
        super().__init__(name, **arguments)
        if self.arguments["axis"] != -1:
            raise ArgumentError(
                f"{name} works along the last axis, axis=-1, got {self.arguments['axis']!r}; move "
                "that axis to the end with a Permute layer first."
            )

    def values(self, x: Any) -> Array:
        """f(x)."""
        from gpunet import ops

        return ops.glu(x)

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
