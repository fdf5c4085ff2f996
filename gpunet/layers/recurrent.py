"""Recurrent layers: one product for all steps, then the steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet import activations, constraints, initializers, regularizers
from gpunet.engine.graph import Shape
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.base import Context, Layer
from gpunet.saving.configs import described

_WEIGHTS = {"kernel": "kernel", "recurrent": "recurrent_kernel", "bias": "bias"}
# What Keras has besides, and the values of it that say nothing.
_DEFAULTS: dict[str, tuple[Any, ...]] = {
    "recurrent_dropout": (0, 0.0),
    "seed": (None,),
    "return_state": (False,),
    "stateful": (False,),
    "unroll": (False,),
    "use_cudnn": ("auto", True, False),  # the numbers are the same
    "zero_output_for_mask": (False,),
}


class Recurrent(Layer):
    """What recurrent layers share: their arguments, the product for all steps, and dropout.

    Args:
        arguments: those of the constructor by Keras' names.
        kwargs: name and so on; see `Layer`.
    """

    gates: int  # how many numbers of z there are for each unit
    use_bias: bool
    return_sequences: bool
    go_backwards: bool
    bias_initializer: Any

    def __init__(self, arguments: dict[str, Any], kwargs: dict[str, Any]) -> None:
        super().__init__(activity_regularizer=arguments["activity_regularizer"], **kwargs)
        who = type(self).__name__
        for name, values in self.defaults.items():
            if arguments[name] not in values:
                raise ArgumentError(
                    f"{who} has no {name}, got {name}={arguments[name]!r}; leave it out."
                )
        units, dropout = arguments["units"], arguments["dropout"]
        if not isinstance(units, int) or isinstance(units, bool) or units < 1:
            raise ArgumentError(f"{who} takes a positive integer for units, got {units!r}.")
        if not isinstance(dropout, int | float | np.number) or not 0 <= dropout < 1:
            raise ArgumentError(
                f"{who} takes a number of at least 0 and below 1 for dropout, got {dropout!r}."
            )
        for name in ("use_bias", "return_sequences", "go_backwards"):
            setattr(self, name, self._flag(name, arguments[name]))
        self.units = units
        self.dropout = float(dropout)
        for name, only in (("activation", "tanh"), ("recurrent_activation", "sigmoid")):
            self._check_activation(name, arguments[name], only)
        for name in _WEIGHTS:
            for kind, get in (
                ("initializer", initializers.get),
                ("regularizer", regularizers.get),
                ("constraint", constraints.get),
            ):
                setattr(self, f"{name}_{kind}", get(arguments[f"{name}_{kind}"]))

    @property
    def defaults(self) -> dict[str, tuple[Any, ...]]:
        """Arguments that Keras has besides, and the values of them that are taken."""
        return _DEFAULTS

    def _flag(self, name: str, value: Any) -> bool:
        if not isinstance(value, bool):
            raise ArgumentError(f"{type(self).__name__} takes a bool for {name}, got {value!r}.")
        return value

    def _check_activation(self, name: str, value: object, only: str) -> None:
        """The ops know one function for each place."""
        if activations.serialize(activations.get(value)) != only:
            raise ArgumentError(
                f"{type(self).__name__} takes {only!r} for {name}, got {value!r}; leave it out."
            )

    def bias_shape(self) -> tuple[int, ...]:
        """The shape of the bias."""
        return (self.gates * self.units,)

    def first_bias(self) -> Any:
        """The initializer of the bias."""
        return self.bias_initializer

    def build(self, input_shape: Shape) -> None:
        """Make kernel (features, gates * units), recurrent_kernel (units, ...) and bias."""
        if len(input_shape) != 3:
            raise ShapeError(
                f"{type(self).__name__} {self.label!r} expects inputs (batch, steps, features), "
                f"got {input_shape}; put a Reshape before it, or return_sequences=True into the "
                "recurrent layer before."
            )
        columns = self.gates * self.units
        shapes: dict[str, tuple[int, ...]] = {
            "kernel": (input_shape[-1] or 0, columns),
            "recurrent": (self.units, columns),
        }
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

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(batch, steps, units), or without return_sequences (batch, units)."""
        steps = input_shape[1:2] if self.return_sequences else ()
        return (input_shape[0], *steps, self.units)

    def inputs_product(self, op: Recorder, c: Context, bias: Buffer | None) -> Buffer:
        """z = x kernel + bias for all steps, (batch, steps, gates * units)."""
        c.hidden = c.x
        if self._drops(c):
            c.hidden = c.scratch(c.x.shape, "dropped")
            op.spatial_dropout(c.hidden, c.x, c.random, rate=self.dropout, node=c.node)
        shape = (*c.x.shape[:2], self.gates * self.units)
        product, z = c.scratch(shape, "product"), c.scratch(shape, "z")
        op.gemm(product, c.hidden, c.kernel)
        if bias is None:
            return product
        op.bias_act(z, product, bias, activation="linear")
        return z

    def sequence(self, c: Context, name: str) -> Buffer:
        """Memory for a number of each unit at each step."""
        return c.scratch((*c.x.shape[:2], self.units), name)

    def inputs_backward(self, op: Recorder, c: Context, dz: Buffer, dbias: Buffer | None) -> None:
        """dkernel = x^T dz, dbias = sums of dz, dx = dz kernel^T, each for all steps at once."""
        if dbias is not None:
            op.gemm_column_sum(c.dkernel, dbias, c.hidden, dz, ta=True)
        else:
            op.gemm(c.dkernel, c.hidden, dz, ta=True)
        if self._drops(c):
            dropped = c.scratch(c.x.shape, "ddropped")
            op.gemm(dropped, dz, c.kernel, tb=True)
            op.spatial_dropout(c.dx, dropped, c.random, rate=self.dropout, node=c.node)
        else:
            op.gemm(c.dx, dz, c.kernel, tb=True)

    def _drops(self, c: Context) -> bool:
        return c.training and self.dropout > 0

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
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
            "activation": "tanh",
            "recurrent_activation": "sigmoid",
            "use_bias": self.use_bias,
            **of_weights,
            "dropout": self.dropout,
            "return_sequences": self.return_sequences,
            "go_backwards": self.go_backwards,
            **{name: values[0] for name, values in self.defaults.items()},
        }


class LSTM(Recurrent):
    """Long short-term memory: a state h and cells c that gates read, keep and write at each step.

    With a = x_t kernel + h_(t-1) recurrent_kernel + bias, whose units stand in the order i f c o:
    i, f, o = sigmoid(a_i, a_f, a_o); c_t = f c_(t-1) + i tanh(a_c); h_t = o tanh(c_t). The first
    state is zero.

    Args:
        units: how many numbers the state has.
        activation: "tanh".
        recurrent_activation: "sigmoid".
        use_bias: whether there is a bias.
        kernel_initializer: first values of the kernel, (features, 4 * units).
        recurrent_initializer: first values of the recurrent kernel, (units, 4 * units).
        bias_initializer: first values of the bias, (4 * units,).
        unit_forget_bias: whether the bias of f starts at 1, so that cells are kept at first.
        kernel_regularizer: a penalty on the kernel, "l2" for example.
        recurrent_regularizer: a penalty on the recurrent kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output, divided by the batch size.
        kernel_constraint: what the kernel must keep to after each step of training.
        recurrent_constraint: what the recurrent kernel must keep to.
        bias_constraint: what the bias must keep to.
        dropout: the share of features that are dropped in training, the same in all steps.
        recurrent_dropout: not supported: 0.
        seed: not supported, as `gpunet.random.set_seed` sets all: None.
        return_sequences: whether to return h of every step, (batch, steps, units), or the last.
        return_state: not supported: False.
        go_backwards: whether to go from the last step to the first; h of every step then stands in
            this order, too.
        stateful: not supported: False.
        unroll: not supported, as steps need no unrolling: False.
        use_cudnn: accepted as in Keras: kernels are always gpunet's own.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense, or that is not supported.
        ShapeError: inputs that are not (batch, steps, features).

    Source: Hochreiter and Schmidhuber, 1997; Gers et al., 2000 (forget gates).

    Example:
        >>> from gpunet import Sequential
        >>> Sequential([LSTM(8, input_shape=(5, 3))]).count_params()
        384
    """

    gates = 4

    def __init__(
        self,
        units: int,
        activation: object = "tanh",
        recurrent_activation: object = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: object = "glorot_uniform",
        recurrent_initializer: object = "orthogonal",
        bias_initializer: object = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: Any = "auto",
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(locals(), kwargs)
        self.unit_forget_bias = self._flag("unit_forget_bias", unit_forget_bias)

    def first_bias(self) -> Any:
        """The initializer of the bias."""
        return _ForgetBias(self.bias_initializer) if self.unit_forget_bias else super().first_bias()

    def forward(self, op: Recorder, c: Context) -> None:
        """z = x kernel + bias for all steps at once, then the steps."""
        z = self.inputs_product(op, c, c.bias if self.use_bias else None)
        gates, cells = c.scratch(z.shape, "gates"), self.sequence(c, "cells")
        y, last = (c.y, None) if self.return_sequences else (self.sequence(c, "h"), c.y)
        op.lstm(
            *(y, cells, gates, last, None, z, c.recurrent_kernel, None, None, None),
            reverse=self.go_backwards,
        )
        c.saved = y, cells, gates

    def backward(self, op: Recorder, c: Context) -> None:
        """dz of all steps, and from it the gradients of the weights and of x, each at once."""
        y, cells, gates = c.saved
        dz, before = c.scratch(gates.shape, "dz"), c.scratch(y.shape, "before")
        dy, dlast = (c.dy, None) if self.return_sequences else (None, c.dy)
        op.lstm_backward(
            *(dz, None, None, dy, dlast, None, gates, cells, c.recurrent_kernel, None, None),
            reverse=self.go_backwards,
        )
        op.previous_steps(before, y, None, reverse=self.go_backwards)
        op.gemm(c.drecurrent_kernel, before, dz, ta=True)
        self.inputs_backward(op, c, dz, c.dbias if self.use_bias else None)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "unit_forget_bias": self.unit_forget_bias}


class _ForgetBias(initializers.Initializer):
    """Ones for f, and another initializer's values for i and for c and o."""

    def __init__(self, others: initializers.Initializer) -> None:
        self.others = others

    def __call__(self, shape: Any, dtype: Any = "float32") -> Any:
        """The bias of all four gates."""
        (size,) = shape
        units = size // 4
        parts = (
            self.others((units,), dtype),
            np.ones(units, dtype),
            self.others((2 * units,), dtype),
        )
        return np.concatenate(parts)
