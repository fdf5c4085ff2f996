"""Recurrent layers: one product for all steps, then the steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet import activations, constraints, initializers, regularizers
from gpunet.engine.graph import Shape
from gpunet.engine.recorder import Recorder
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


class LSTM(Layer):
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
        arguments = dict(locals())
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        for name in _DEFAULTS:
            self._check_default(name, arguments[name])
        if not isinstance(units, int) or isinstance(units, bool) or units < 1:
            raise ArgumentError(f"LSTM takes a positive integer for units, got {units!r}.")
        if not isinstance(dropout, int | float | np.number) or not 0 <= dropout < 1:
            raise ArgumentError(
                f"LSTM takes a number of at least 0 and below 1 for dropout, got {dropout!r}."
            )
        for name in ("use_bias", "unit_forget_bias", "return_sequences", "go_backwards"):
            if not isinstance(arguments[name], bool):
                raise ArgumentError(f"LSTM takes a bool for {name}, got {arguments[name]!r}.")
            setattr(self, name, arguments[name])
        self.units = units
        self.dropout = float(dropout)
        self.activation = self._gate("activation", activation, "tanh")
        self.recurrent_activation = self._gate(
            "recurrent_activation", recurrent_activation, "sigmoid"
        )
        for name in _WEIGHTS:
            for kind, get in (
                ("initializer", initializers.get),
                ("regularizer", regularizers.get),
                ("constraint", constraints.get),
            ):
                setattr(self, f"{name}_{kind}", get(arguments[f"{name}_{kind}"]))

    use_bias: bool
    unit_forget_bias: bool
    return_sequences: bool
    go_backwards: bool

    def _check_default(self, name: str, value: Any) -> None:
        if value not in _DEFAULTS[name]:
            raise ArgumentError(
                f"{type(self).__name__} has no {name}, got {name}={value!r}; leave it out."
            )

    def _gate(self, name: str, value: object, only: str) -> str:
        """The name of an activation, of which the ops know one."""
        if activations.serialize(activations.get(value)) != only:
            raise ArgumentError(
                f"{type(self).__name__} takes {only!r} for {name}, got {value!r}; leave it out."
            )
        return only

    def build(self, input_shape: Shape) -> None:
        """Make kernel (features, 4 * units), recurrent_kernel (units, 4 * units) and bias."""
        if len(input_shape) != 3:
            raise ShapeError(
                f"{type(self).__name__} {self.label!r} expects inputs (batch, steps, features), "
                f"got {input_shape}; put a Reshape before it, or return_sequences=True into the "
                "recurrent layer before."
            )
        gates = 4 * self.units
        shapes = {
            "kernel": (input_shape[-1] or 0, gates),
            "recurrent": (self.units, gates),
            "bias": (gates,),
        }
        for name, shape in shapes.items():
            initializer = getattr(self, f"{name}_initializer")
            if name == "bias":
                if not self.use_bias:
                    continue
                if self.unit_forget_bias:
                    initializer = _ForgetBias(initializer)
            self.add_weight(
                _WEIGHTS[name],
                shape,
                initializer,
                regularizer=getattr(self, f"{name}_regularizer"),
                constraint=getattr(self, f"{name}_constraint"),
            )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(batch, steps, units), or without return_sequences (batch, units)."""
        steps = input_shape[1:2] if self.return_sequences else ()
        return (input_shape[0], *steps, self.units)

    def forward(self, op: Recorder, c: Context) -> None:
        """z = x kernel + bias for all steps at once, then the steps."""
        batch, steps, _ = c.x.shape
        c.hidden = c.x
        if self._drops(c):
            c.hidden = c.scratch(c.x.shape, "dropped")
            op.spatial_dropout(c.hidden, c.x, c.random, rate=self.dropout, node=c.node)
        product, z, gates = (c.scratch((batch, steps, 4 * self.units), n) for n in ("xk", "z", "g"))
        op.gemm(product, c.hidden, c.kernel)
        if self.use_bias:
            op.bias_act(z, product, c.bias, activation="linear")
        else:
            z = product
        y, cells = (c.scratch((batch, steps, self.units), name) for name in ("h", "cells"))
        last = None if self.return_sequences else c.y
        y = c.y if self.return_sequences else y
        op.lstm(
            y, cells, gates, last, None, z, c.recurrent_kernel, None, None,
            reverse=self.go_backwards,
        )  # fmt: skip
        c.saved = y, cells, gates

    def backward(self, op: Recorder, c: Context) -> None:
        """dz of all steps, then dkernel = x^T dz, dbias, dx = dz kernel^T, each at once."""
        y, cells, gates = c.saved
        dz, previous = c.scratch(gates.shape, "dz"), c.scratch(y.shape, "previous")
        dy, dlast = (c.dy, None) if self.return_sequences else (None, c.dy)
        reverse = self.go_backwards
        op.lstm_backward(
            dz, None, None, dy, dlast, None, gates, cells, c.recurrent_kernel, None,
            reverse=reverse,
        )  # fmt: skip
        op.previous_steps(previous, y, None, reverse=reverse)
        op.gemm(c.drecurrent_kernel, previous, dz, ta=True)
        if self.use_bias:
            op.gemm_column_sum(c.dkernel, c.dbias, c.hidden, dz, ta=True)
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
            "activation": self.activation,
            "recurrent_activation": self.recurrent_activation,
            "use_bias": self.use_bias,
            "unit_forget_bias": self.unit_forget_bias,
            **of_weights,
            "dropout": self.dropout,
            "return_sequences": self.return_sequences,
            "go_backwards": self.go_backwards,
            **{name: values[0] for name, values in _DEFAULTS.items()},
        }


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
