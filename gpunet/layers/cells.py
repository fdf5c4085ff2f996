"""Cells: what recurrent layers do at one step, and what their cells share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet import activations, constraints, initializers, regularizers
from gpunet.arguments import BELOW_1, check_count, check_flag
from gpunet.engine.graph import Shape
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.base import Context, Layer
from gpunet.layers.seeds import check_seed, lane_of
from gpunet.layers.unrolled import StepContext
from gpunet.saving.configs import described

_WEIGHTS = {"kernel": "kernel", "recurrent": "recurrent_kernel", "bias": "bias"}
_OF_STATE = 2**40  # is added to the lane of what is dropped of a state


class RecurrentCell(Layer):
    """What the cells of recurrent layers share: their arguments and weights, and dropout.

    Args:
        arguments: those of the constructor by Keras' names.
        kwargs: name and so on; see `Layer`.
    """

    gates: int  # how many numbers of x kernel there are for each unit
    use_bias: bool
    kernel_initializer: Any
    recurrent_initializer: Any
    bias_initializer: Any

    def __init__(self, arguments: dict[str, Any], kwargs: dict[str, Any]) -> None:
        super().__init__(**kwargs)
        self.units = self.size("units", arguments["units"])
        self.activation = self._checked_activation("activation", arguments)
        if "recurrent_activation" in arguments:
            self.recurrent_activation = self._checked_activation("recurrent_activation", arguments)
        self.use_bias = self.flag("use_bias", arguments["use_bias"])
        for name in _WEIGHTS:
            for kind, get in (
                ("initializer", initializers.get),
                ("regularizer", regularizers.get),
                ("constraint", constraints.get),
            ):
                setattr(self, f"{name}_{kind}", get(arguments[f"{name}_{kind}"]))
        self.dropout = self._rate("dropout", arguments["dropout"])
        self.recurrent_dropout = self._rate("recurrent_dropout", arguments["recurrent_dropout"])
        self.seed = check_seed(self.who, arguments["seed"])

    @property
    def who(self) -> str:
        """What messages call it: the layer, whose arguments these mostly are."""
        return type(self).__name__.removesuffix("Cell")

    @property
    def state_size(self) -> Any:
        """How many numbers each state has: an integer, or a list of them where there are more."""
        return self.units

    @property
    def output_size(self) -> int:
        """How many numbers the output has."""
        return self.units

    def size(self, name: str, value: Any) -> int:
        """An argument that counts something."""
        return check_count(self.who, name, value)

    def flag(self, name: str, value: Any) -> bool:
        """An argument that is true or not."""
        return check_flag(self.who, name, value)

    def _rate(self, name: str, value: Any) -> float:
        return BELOW_1.check(self.who, name, value)

    def _checked_activation(self, name: str, arguments: dict[str, Any]) -> activations.Activation:
        activation = activations.get(arguments[name])
        if activation.output_shape((None, 2)) != (None, 2):
            raise ArgumentError(
                f"{self.who} takes a function of one number for {name}, got {activation.name!r}, "
                "which halves their number."
            )
        return activation

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """A cell is one step of a layer, and not called itself.

        Raises:
            ArgumentError: it is called.
        """
        raise not_called(self)

    def bias_shape(self) -> tuple[int, ...]:
        """The shape of the bias."""
        return (self.gates * self.units,)

    def first_bias(self) -> Any:
        """The initializer of the bias."""
        return self.bias_initializer

    def kernel_shapes(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        """The shapes of kernel and recurrent kernel, for the input of one step."""
        if len(input_shape) != 2 or input_shape[1] is None:
            raise ShapeError(f"{self.who} takes a number of features at each step.")
        columns = self.gates * self.units
        return {"kernel": (input_shape[1], columns), "recurrent": (self.units, columns)}

    def build(self, input_shape: Shape) -> None:
        """Make kernel (features, gates * units), recurrent_kernel (units, ...) and bias."""
        shapes = self.kernel_shapes(input_shape)
        if self.use_bias:
            shapes["bias"] = self.bias_shape()
        for name, shape in shapes.items():
            self.add_weight(
                _WEIGHTS[name],
                shape,
                self.first_bias() if name == "bias" else getattr(self, f"{name}_initializer"),
                regularizer=getattr(self, f"{name}_regularizer"),
                constraint=getattr(self, f"{name}_constraint"),
            )

    # ------------------------------------------------------------------ dropout and products

    def lane(self, c: Context) -> int:
        """Which random numbers say what is dropped of the inputs: the same at each step."""
        return lane_of(c, self.seed)

    def product_of_inputs(self, c: Context) -> Product:
        """x kernel of a step."""
        rate = self.dropout if c.training else 0.0
        return Product(c, c.kernel, self._masks, rate, self.lane(c))

    def product_of_state(self, c: Context) -> Product:
        """h recurrent_kernel of a step."""
        rate = self.recurrent_dropout if c.training else 0.0
        return Product(c, c.recurrent_kernel, self._masks, rate, self.lane(c) + _OF_STATE)

    @property
    def _masks(self) -> int:
        """As in Keras: with a recurrent dropout each gate drops others."""
        return self.gates if self.recurrent_dropout > 0 else 1

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        recurrent = getattr(self, "recurrent_activation", None)
        of_weights = {
            f"{name}_{kind}": describe(getattr(self, f"{name}_{kind}"))
            for kind, describe in (
                ("initializer", initializers.serialize),
                ("regularizer", described),
                ("constraint", described),
            )
            for name in _WEIGHTS
        }
        return {
            **super().get_config(),
            "units": self.units,
            "activation": activations.serialize(self.activation),
            **({"recurrent_activation": activations.serialize(recurrent)} if recurrent else {}),
            "use_bias": self.use_bias,
            **of_weights,
            "dropout": self.dropout,
            "recurrent_dropout": self.recurrent_dropout,
            "seed": self.seed,
        }


class Product:
    """z = x kernel of one step, where a share of x may be dropped: the same one at each step.

    Args:
        c: the step's context.
        kernel: (numbers of x, masks * columns).
        masks: for how many parts of the columns x is dropped in other places.
        rate: the share that is dropped.
        lane: which random numbers say where.
    """

    def __init__(self, c: Context, kernel: Buffer, masks: int, rate: float, lane: int) -> None:
        self.c = c
        self.kernel = kernel
        self.masks = masks
        self.rate = rate
        self.lane = lane
        self.factors: tuple[Buffer, Buffer]  # what was multiplied

    def forward(self, op: Recorder, x: Buffer) -> Buffer:
        """z = dropped x kernel, (batch, columns)."""
        z = self.c.scratch((x.shape[0], self.kernel.shape[1]), "z")
        if self.rate == 0:
            self.factors = x, self.kernel
            op.gemm(z, x, self.kernel)
        elif self.masks == 1:
            self.factors = self._drop(op, x), self.kernel
            op.gemm(z, *self.factors)
        else:
            tiled = self.c.scratch((self.masks, *x.shape), "tiled")
            op.repeat(_flat(tiled), _flat(x), times=(1, 1, self.masks))
            self.factors = self._drop(op, tiled), self._exchange(op, self.kernel)
            product = self.c.scratch((self.masks, x.shape[0], z.shape[1] // self.masks), "product")
            op.batched_gemm(product, *self.factors)
            self._exchange(op, product, z)
        return z

    def backward(self, op: Recorder, dx: Buffer, dkernel: Buffer, dz: Buffer) -> None:
        """dkernel = (dropped x)^T dz, dx = dropped dz kernel^T."""
        x, kernel = self.factors
        if self.masks == 1 or self.rate == 0:
            op.gemm(dkernel, x, dz, ta=True)
            target = dx if self.rate == 0 else self.c.scratch(dx.shape, "ddropped")
            op.gemm(target, dz, kernel, tb=True)
            if self.rate > 0:
                op.dropout(dx, target, self.c.random, rate=self.rate, node=self.lane)
            return
        dproduct = self._exchange(op, dz)
        of_kernel = self.c.scratch(kernel.shape, "dkernel")
        op.batched_gemm(of_kernel, x, dproduct, ta=True)
        self._exchange(op, of_kernel, dkernel)
        ddropped = self.c.scratch(x.shape, "ddropped")
        op.batched_gemm(ddropped, dproduct, kernel, tb=True)
        op.repeat_backward(_flat(dx), _flat(self._drop(op, ddropped)), times=(1, 1, self.masks))

    def _drop(self, op: Recorder, x: Buffer) -> Buffer:
        dropped = self.c.scratch(x.shape, "dropped")
        op.dropout(dropped, x, self.c.random, rate=self.rate, node=self.lane)
        return dropped

    def _exchange(self, op: Recorder, x: Buffer, y: Buffer | None = None) -> Buffer:
        """Parts of columns, (rows, masks, columns), to matrices (masks, rows, columns), or back."""
        if y is None:
            rows, columns = x.shape[0], x.shape[1] // self.masks
            x = x.reshape(1, rows, 1, self.masks, columns)
            y = self.c.scratch((self.masks, rows, columns), "exchanged")
        else:
            x = x.reshape(1, x.shape[0], 1, *x.shape[1:])
        op.swap_axes(y.reshape(1, x.shape[3], 1, x.shape[1], x.shape[4]), x)
        return y


def _flat(x: Buffer) -> Buffer:
    """All there is of each mask: the axis that is repeated, and what comes with it."""
    masks = x.shape[0] if len(x.shape) == 3 else 1
    return x.reshape(1, 1, 1, masks, x.size // max(masks, 1))


def add_bias(op: Recorder, c: Context, z: Buffer, bias: Buffer | None) -> Buffer:
    """z + bias, if there is one."""
    if bias is None:
        return z
    y = c.scratch(z.shape, "z")
    op.bias_act(y, z, bias, activation="linear")
    return y


def bias_gradient(op: Recorder, c: Context, dbias: Buffer, dz: Buffer) -> None:
    """dbias = the sum of dz over the batch."""
    op.bias_act_backward(c.scratch(dz.shape), dbias, dz, None, activation="linear")


def total(op: Recorder, c: Context, a: Buffer, b: Buffer) -> Buffer:
    """a + b."""
    y = c.scratch(a.shape, "sum")
    op.add(y, a, b)
    return y


def product(op: Recorder, c: Context, a: Buffer, b: Buffer) -> Buffer:
    """a * b, element by element."""
    y = c.scratch(a.shape, "product")
    op.multiply(y, a, b)
    return y


def columns(op: Recorder, c: Context, x: Buffer, *widths: int) -> list[Buffer]:
    """The columns of a matrix in parts of these widths, which are all of them."""
    parts, start = [], 0
    whole = x.reshape(x.shape[0], 1, 1, x.shape[1])
    for width in widths:
        part = c.scratch((x.shape[0], width), "part")
        before, after = (0, 0, start), (0, 0, x.shape[1] - start - width)
        op.crop(part.reshape(x.shape[0], 1, 1, width), whole, before=before, after=after)
        parts.append(part)
        start += width
    return parts


def joined(op: Recorder, c: Context, *parts: Buffer) -> Buffer:
    """The columns of up to four matrices behind each other."""
    y = c.scratch((parts[0].shape[0], sum(part.shape[1] for part in parts)), "joined")
    op.concatenate(y, *parts, *[None] * (4 - len(parts)))
    return y


class Activated:
    """y = activation(x), and back."""

    def __init__(self, c: StepContext, activation: activations.Activation) -> None:
        self.c = c
        self.activation = activation
        self.saved: Buffer

    def forward(self, op: Recorder, x: Buffer, y: Buffer | None = None) -> Buffer:
        """y = activation(x)."""
        y = y or self.c.scratch(x.shape, self.activation.name)
        self.saved = self.activation.forward(op, y, x)
        return y

    def backward(self, op: Recorder, dy: Buffer) -> Buffer:
        """dx = dy activation'."""
        dx = self.c.scratch(dy.shape, f"d{self.activation.name}")
        self.activation.backward(op, dx, dy, self.saved)
        return dx


def not_called(cell: Layer) -> ArgumentError:
    """What to say where a cell is called."""
    return ArgumentError(
        f"{type(cell).__name__} is a step of a recurrent layer, and not called itself; call "
        "layers.RNN(cell) on a sequence."
    )


def sizes_of(state_size: Any) -> list[Any]:
    """The sizes of all states of a cell, also of cells in cells, as one list."""
    if isinstance(state_size, Sequence):
        return [size for item in state_size for size in sizes_of(item)]
    return [state_size]
