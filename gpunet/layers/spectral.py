"""Spectral normalization: a layer whose kernel has the largest singular value 1."""

from __future__ import annotations

from typing import Any

from gpunet.arguments import check_count
from gpunet.engine.graph import Shape
from gpunet.engine.parameters import Parameter
from gpunet.engine.recorder import Recorder
from gpunet.errors import ArgumentError
from gpunet.initializers import TruncatedNormal
from gpunet.layers.base import Context, Layer

_EPSILON = 1e-7  # Keras' default: vectors shorter than this are not made longer than 1 / epsilon


class SpectralNormalization(Layer):
    """A layer that divides the kernel of another by its largest singular value in training.

    In each training pass, with the kernel W as a matrix of its last axis and all others:
    v = W u / |W u| and u = v W / |v W|, power_iterations times; then W = W / (v W u). Gradients
    are those of the divided kernel; u is kept from pass to pass.

    Args:
        layer: a layer with a kernel or embeddings, such as Dense.
        power_iterations: how often u and v are improved in a pass.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: the layer has neither kernel nor embeddings, or power_iterations is no
            positive integer.

    Source: Miyato et al., 2018, arXiv:1802.05957.

    Example:
        >>> from gpunet import Sequential, layers
        >>> model = Sequential([layers.SpectralNormalization(layers.Dense(2), input_shape=(3,))])
        >>> [weight.shape for weight in model.get_weights()]
        [(3, 2), (1, 2), (2,)]
    """

    def __init__(self, layer: Layer, power_iterations: int = 1, **kwargs: Any) -> None:
        if not isinstance(layer, Layer) or layer.inputs != 1:
            raise ArgumentError(f"SpectralNormalization takes a layer, got {layer!r}.")
        kwargs.setdefault("activity_regularizer", layer.activity_regularizer)
        super().__init__(**kwargs)
        self.layer = layer
        self.power_iterations = check_count(self, "power_iterations", power_iterations)

    def build(self, input_shape: Shape) -> None:
        """Make the weights of the layer, and vector_u (1, size of the kernel's last axis)."""
        if not self.layer.graphs:
            self.layer.built_for = None  # another model may have failed to be built with it
            self.layer.parameters.clear()
        self.layer.ensure_built(input_shape)
        kernel = self._kernel()
        self.parameters = [kernel]
        values = TruncatedNormal(stddev=0.02)
        self.add_weight("vector_u", (1, kernel.shape[-1]), values, trainable=False)
        self.parameters += [p for p in self.layer.parameters if p is not kernel]  # Keras' order
        for parameter in self.parameters:
            parameter.trainable = parameter.trainable and self.layer.trainable
            parameter.layer = self  # which is the layer that the model knows

    def _kernel(self) -> Parameter:
        for parameter in self.layer.parameters:
            if parameter.name in ("kernel", "embeddings"):
                return parameter
        raise ArgumentError(
            f"SpectralNormalization takes a layer with a kernel or embeddings, got {self.layer!r}."
        )

    def check_same_features(self, shape: Any) -> None:
        """Leave it to the layer."""
        self.layer.check_same_features(shape)

    def compute_output_shape(self, input_shape: Shape) -> Any:
        """That of the layer."""
        return self.layer.compute_output_shape(input_shape)

    def forward(self, op: Recorder, c: Context) -> None:
        """In training divide the kernel; then the layer's forward."""
        if c.training:
            self._normalize(op, c)
        self.layer.forward(op, c)

    def _normalize(self, op: Recorder, c: Context) -> None:
        kernel = getattr(c, self._kernel().name)
        kernel = kernel.reshape(-1, kernel.shape[-1])  # (rows, columns)
        rows, columns = kernel.shape
        mean, reciprocal = c.scratch((1,), "mean"), c.scratch((1,), "reciprocal")
        u = c.vector_u
        for _ in range(self.power_iterations):
            product, v = c.scratch((1, rows), "product"), c.scratch((1, rows), "v")
            op.gemm(product, u, kernel, tb=True)
            op.layer_norm(v, mean, reciprocal, product, None, None, norm="unit", epsilon=_EPSILON)
            product, u = c.scratch((1, columns), "product"), c.scratch((1, columns), "u")
            op.gemm(product, v, kernel)
            # v W u is the length of v W, so its reciprocal is at hand.
            mean, reciprocal = c.scratch((1,), "mean"), c.scratch((1,), "reciprocal")
            op.layer_norm(u, mean, reciprocal, product, None, None, norm="unit", epsilon=_EPSILON)
        vectors = (c.vector_u.reshape(-1), u.reshape(-1))
        op.spectral_scale(kernel, *vectors, reciprocal, epsilon=_EPSILON)

    def backward(self, op: Recorder, c: Context) -> None:
        """The layer's backward."""
        self.layer.backward(op, c)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        from gpunet.layers.serialization import serialize  # which knows all layers

        config = {**super().get_config(), "layer": serialize(self.layer)}
        config.pop("activity_regularizer", None)
        return {**config, "power_iterations": self.power_iterations}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SpectralNormalization:
        """A new layer from `get_config`."""
        from gpunet.layers.serialization import deserialize

        config = dict(config)
        return cls(deserialize(config.pop("layer")), **config)
