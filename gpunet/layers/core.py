"""Dense layers."""

from __future__ import annotations

from typing import Any

from gpunet import activations, constraints, initializers, regularizers
from gpunet.arguments import check_count, check_flag
from gpunet.engine.graph import Shape
from gpunet.engine.recorder import Recorder
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.base import Context, Layer
from gpunet.saving.configs import described


class Dense(Layer):
    """A fully connected layer: y = activation(x kernel + bias) along the last axis.

    Args:
        units: the number of outputs.
        activation: a name such as "relu", None for none, or what else `gpunet.activations.get`
            takes.
        use_bias: whether there is a bias.
        kernel_initializer: first values of the kernel, (inputs, units).
        bias_initializer: first values of the bias, (units,).
        kernel_regularizer: a penalty on the kernel, "l2" for example.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output, divided by the batch size.
        kernel_constraint: what is done to the kernel after each step, "max_norm" for example.
        bias_constraint: what is done to the bias after each step.
        lora_rank: low-rank adaptation, which gpunet does not have: None.
        lora_alpha: the same.
        **kwargs: name, trainable, input_shape, input_dim; see `Layer`.

    Raises:
        ArgumentError: units is not a positive integer; an unknown name; a lora_rank.
        ShapeError: inputs of rank 1 (no features), or of other widths than at first.

    Example:
        >>> from gpunet import Sequential, layers
        >>> Sequential([layers.Dense(10, "relu", input_dim=4)]).count_params()
        50
    """

    supports_masking = True
    by_position = True

    def __init__(
        self,
        units: int,
        activation: object = None,
        use_bias: bool = True,
        kernel_initializer: object = "glorot_uniform",
        bias_initializer: object = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: None = None,
        lora_alpha: None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        if lora_rank is not None or lora_alpha is not None:
            raise ArgumentError(
                "Dense has no low-rank adaptation, got lora_rank or lora_alpha: leave them out."
            )
        self.units = check_count(self, "units", units)
        self.activation = activations.get(activation)
        self.use_bias = check_flag(self, "use_bias", use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    def build(self, input_shape: Shape) -> None:
        """Make the kernel (inputs, units) and the bias (units,)."""
        features = input_shape[-1] if len(input_shape) > 1 else None
        if features is None:
            raise ShapeError(
                f"Dense {self.label!r} expects inputs (batch, ..., features), got {input_shape}."
            )
        if self.activation.output_shape((None, 2)) != (None, 2):
            raise ArgumentError(
                f"Dense {self.label!r} has {self.units} outputs, but {self.activation.name} halves "
                f"their number; put layers.Activation({self.activation.name!r}) behind it."
            )
        self.add_weight(
            "kernel",
            (features, self.units),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        if self.use_bias:
            self.add_weight(
                "bias",
                (self.units,),
                self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(batch, ..., units)."""
        return (*input_shape[:-1], self.units)

    def forward(self, op: Recorder, c: Context) -> None:
        """y = activation(x kernel + bias)."""
        z = c.scratch(c.y.shape, "z")  # (batch, units)
        op.gemm(z, c.x, c.kernel)
        c.saved = self.activation.forward(op, c.y, z, c.bias if self.use_bias else None)

    def backward(self, op: Recorder, c: Context) -> None:
        """dkernel = x^T dz, dbias = column sums of dz, dx = dz kernel^T."""
        dz = c.scratch(c.y.shape, "dz")  # (batch, units)
        self.activation.backward(op, dz, c.dy, c.saved, c.dbias if self.use_bias else None)
        op.gemm(c.dkernel, c.x, dz, ta=True)
        op.gemm(c.dx, dz, c.kernel, tb=True)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": described(self.kernel_regularizer),
            "bias_regularizer": described(self.bias_regularizer),
            "kernel_constraint": described(self.kernel_constraint),
            "bias_constraint": described(self.bias_constraint),
        }
