"""A recurrent layer in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.engine.recorder import Recorder
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.base import Context, Layer
from gpunet.layers.joining import Concatenate
from gpunet.layers.merge import Add, Average, Multiply
from gpunet.layers.recurrent import Recurrent

_MODES = ("sum", "mul", "concat", "ave", None)


class Bidirectional(Layer):
    """A recurrent layer from the first step to the last, and another one back.

    With return_sequences the outputs of both directions stand in the order of the inputs, and those
    of masked steps are zero. Both layers are new ones with weights of their own: those of the
    forward layer come first.

    Args:
        layer: the recurrent layer, whose config is taken.
        merge_mode: how both outputs become one: "concat" behind each other, "sum", "mul" (product),
            "ave" (mean); None for a list of both.
        weights: first values, those of the forward layer and then those of the backward layer.
        backward_layer: the layer for the way back; made of ``layer``'s config if None. It must go
            the other way and agree in stateful, return_sequences and return_state.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: something else than a recurrent layer; layers that do not fit each other; an
            unknown merge_mode.
        ShapeError: weights of other shapes.

    Source: Schuster and Paliwal, 1997.

    Example:
        >>> from gpunet import Input, layers
        >>> Bidirectional(layers.LSTM(8))(Input((5, 3))).shape
        (None, 16)
    """

    call_tensors = ("initial_state",)

    def __init__(
        self,
        layer: Any,
        merge_mode: str | None = "concat",
        weights: Sequence[Any] | None = None,
        backward_layer: Any = None,
        **kwargs: Any,
    ) -> None:
        from gpunet.layers.serialization import copy_of  # which knows all layers

        super().__init__(**kwargs)
        for given in (layer, backward_layer):
            if not isinstance(given, Recurrent) and (given is layer or given is not None):
                raise ArgumentError(
                    f"Bidirectional takes a recurrent layer, LSTM(8) for example, got {given!r}."
                )
        if merge_mode not in _MODES:
            raise ArgumentError(
                "Bidirectional takes 'sum', 'mul', 'concat', 'ave' or None for merge_mode, got "
                f"{merge_mode!r}."
            )
        name = layer.label.removeprefix("forward_")
        self.forward_layer: Any = copy_of(layer, name=f"forward_{name}")
        if backward_layer is None:
            changes = {"name": f"backward_{name}", "go_backwards": True}
            backward_layer = copy_of(layer, **changes)
        self.backward_layer: Any = backward_layer
        self._check_layers()
        one: Any
        for one in (self.forward_layer, self.backward_layer):
            one.zero_output_for_mask = one.return_sequences
        self.merge_mode = merge_mode
        self._first_weights = None if weights is None else [np.asarray(w) for w in weights]

    def _check_layers(self) -> None:
        forward, backward = self.forward_layer, self.backward_layer
        if forward.go_backwards == backward.go_backwards:
            raise ArgumentError(
                "Bidirectional takes layers of which one goes backwards, got go_backwards="
                f"{forward.go_backwards} for both."
            )
        for name in ("stateful", "return_sequences", "return_state"):
            if getattr(forward, name) != getattr(backward, name):
                raise ArgumentError(
                    f"Bidirectional takes layers that agree in {name}, got "
                    f"{getattr(forward, name)} and {getattr(backward, name)}."
                )

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None) -> Any:
        """Both layers, and what becomes of their outputs.

        Args:
            sequences: (batch, steps, features).
            initial_state: the first states of the forward layer, then of the backward layer.
            mask: as in any recurrent layer.
        """
        states: list[Any] = [None, None]
        if initial_state is not None:
            given = list(initial_state)
            half = len(given) // 2
            states = [given[:half], given[half:]]
        forward, *last = _listed(self.forward_layer(sequences, states[0], mask))
        backward, *backward_last = _listed(self.backward_layer(sequences, states[1], mask))
        self._set_first_weights()
        if self.forward_layer.return_sequences:
            backward = Reversed()(backward)
        last += backward_last
        if self.merge_mode is None:
            return [forward, backward, *last]
        merge = {"sum": Add, "mul": Multiply, "ave": Average, "concat": Concatenate}
        output = merge[self.merge_mode]()([forward, backward])
        return [output, *last] if last else output

    def _set_first_weights(self) -> None:
        """The weights that were given take the place of the initializers, once."""
        if self._first_weights is None:
            return
        parameters = [*self.forward_layer.parameters, *self.backward_layer.parameters]
        shapes = [p.shape for p in parameters]
        if [w.shape for w in self._first_weights] != shapes:
            raise ShapeError(
                f"Bidirectional {self.label!r} takes weights of the shapes {shapes}, got "
                f"{[w.shape for w in self._first_weights]}."
            )
        for parameter, values in zip(parameters, self._first_weights, strict=True):
            parameter.initializer = _Given(values)
        self._first_weights = None

    def reset_state(self) -> None:
        """Set the states that stateful layers keep to zero."""
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    def reset_states(self) -> None:
        """Keras' other name of `reset_state`."""
        self.reset_state()

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; without weights, which a model has."""
        from gpunet.layers.serialization import serialize

        return {
            **super().get_config(),
            "merge_mode": self.merge_mode,
            "layer": serialize(self.forward_layer),
            "backward_layer": serialize(self.backward_layer),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Bidirectional:
        """A new layer from `get_config`."""
        from gpunet.layers.serialization import as_layer

        config = dict(config)
        for name in ("layer", "backward_layer"):
            if config.get(name) is not None:
                config[name] = as_layer(config[name])
        return cls(**config)


class Reversed(Layer):
    """A sequence with its last step first."""

    supports_masking = True  # the output of a layer that went backwards has the inputs' mask

    def forward(self, op: Recorder, c: Context) -> None:
        """y_t = x_(steps - 1 - t)."""
        op.reverse_steps(_sequence(c.y), _sequence(c.x))

    def backward(self, op: Recorder, c: Context) -> None:
        """dx_t = dy_(steps - 1 - t)."""
        op.reverse_steps(_sequence(c.dx), _sequence(c.dy))


class _Given:
    """Values as an initializer."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def __call__(self, shape: Any, dtype: Any = "float32") -> Any:
        """The values, which have this shape."""
        del shape
        return self.values.astype(dtype)


def _sequence(buffer: Any) -> Any:
    return buffer.reshape(*buffer.shape[:2], -1)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
