"""Optimizers under Keras' names and with Keras' formulas; the maths is one op on flat buffers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.backend.base import Backend
from gpunet.backend.spec import Array
from gpunet.engine.parameters import Span
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError
from gpunet.identifiers import lookup

if TYPE_CHECKING:
    from gpunet.models import Model


class Optimizer(ABC):
    """Base class: hyper-parameters, and slots beside the flat weights of a model.

    Hyper-parameters may be changed at any time; the next step uses the new values.

    Args:
        learning_rate: the step size.
        name: the name to show.
    """

    hyper_names: tuple[str, ...] = ("learning_rate",)
    """The attributes that the op reads from the device, in its order."""

    def __init__(self, learning_rate: float, name: str | None = None) -> None:
        self.learning_rate = learning_rate
        self.name = name or type(self).__name__.lower()
        self._backend: Backend | None = None
        self._slots: dict[Span, list[Array]] = {}
        self._step: Array = None
        self._hyper: Array = None
        self._sent: tuple[float, ...] = ()

    @property
    @abstractmethod
    def slot_count(self) -> int:
        """How many slots there are: buffers as large as the weights."""

    @abstractmethod
    def record_update(
        self, op: Recorder, weights: Buffer, slots: Sequence[Buffer], b: _UpdateBuffers
    ) -> None:
        """Record the op that updates one span of weights."""

    # -------------------------------------------------------------------- state

    @property
    def iterations(self) -> int:
        """How many steps have been done."""
        if self._backend is None:
            return 0
        return int(self._backend.to_numpy(self._step)[0])

    def attach(self, backend: Backend, spans: Sequence[Span]) -> None:
        """Make what is missing of the state for these spans on this backend, or move it there."""
        if self._backend is not backend:
            self._move(backend)
        for span in spans:
            size, dtype = span.stop - span.start, span.block.dtype
            if span not in self._slots:
                self._slots[span] = [backend.zeros((size,), dtype) for _ in range(self.slot_count)]
            elif any(slot.dtype != dtype for slot in self._slots[span]):
                hosts = [backend.to_numpy(slot).astype(dtype) for slot in self._slots[span]]
                self._slots[span] = [backend.from_numpy(host) for host in hosts]

    def _move(self, backend: Backend) -> None:
        old, self._backend = self._backend, backend
        step = np.zeros(1, np.int64) if old is None else old.to_numpy(self._step)
        self._step = backend.from_numpy(step)
        self._hyper = backend.empty((len(self.hyper_names),), "float64")
        self._sent = ()
        for span, slots in self._slots.items():
            if old is not None:
                hosts = [old.to_numpy(slot).astype(span.block.dtype) for slot in slots]
                self._slots[span] = [backend.from_numpy(host) for host in hosts]

    def send_hyper(self) -> None:
        """Copy the hyper-parameters to the device if they changed.

        Raises:
            ArgumentError: one is no finite number, or the learning rate is negative.
        """
        values = tuple(getattr(self, name) for name in self.hyper_names)
        if values != self._sent and self._backend is not None:
            for name, value in zip(self.hyper_names, values, strict=True):
                self._check(name, value)
            self._backend.write(self._hyper, np.array(values, np.float64))
            self._sent = values

    def _check(self, name: str, value: Any) -> None:
        if not isinstance(value, int | float | np.number) or not 0 <= float(value) < np.inf:
            raise ArgumentError(
                f"{type(self).__name__} takes a number of at least 0 for {name}, got {value!r}."
            )

    # ------------------------------------------------------------------ recording

    def record(self, op: Recorder, spans: Sequence[Span]) -> None:
        """Record the update of all spans; the last one counts the step."""
        op.layer, op.direction = "optimizer", "update"
        n_hyper = len(self.hyper_names)
        step = op.external("step", (1,), "int64", lambda: self._step)
        hyper = op.external("hyper", (n_hyper,), "float64", lambda: self._hyper)
        for i, span in enumerate(spans):
            table = span.segments()
            segments = op.external("segments", table.shape, "float64", _uploaded(span, table))
            names = ["weights", "gradients", *[f"slot_{k}" for k in range(self.slot_count)]]
            weights, gradients, *slots = (
                op.external(name, (span.stop - span.start,), span.block.dtype, array)
                for name, array in zip(names, self._arrays(span), strict=True)
            )
            tick = i == len(spans) - 1
            buffers = _UpdateBuffers(step, gradients, segments, hyper, tick)
            self.record_update(op, weights, slots, buffers)

    def _arrays(self, span: Span) -> list[Callable[[], Array]]:
        """How to find the flat arrays of a span when a plan is bound."""
        slots = [(lambda k=k: self._slots[span][k]) for k in range(self.slot_count)]
        return [lambda: span.weights, lambda: span.gradients, *slots]

    def step(self, model: Model) -> None:
        """Update a model's weights from the gradients of `Run.backward`.

        The gradients of the weights' regularizers are added first, their constraints come last.

        Args:
            model: the model whose gradients have been computed.

        Raises:
            UsageError: there are no gradients: backward comes first.
        """
        model.apply_gradients(self)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {name: getattr(self, name) for name in self.hyper_names} | {"name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Optimizer:
        """A new optimizer from `get_config`."""
        return cls(**config)


class _UpdateBuffers:
    """What every update reads: counter, gradients, segment table and hyper-parameters."""

    def __init__(
        self, step: Buffer, gradients: Buffer, segments: Buffer, hyper: Buffer, tick: bool
    ) -> None:
        self.step = step
        self.gradients = gradients
        self.segments = segments
        self.hyper = hyper
        self.tick = tick


def _uploaded(span: Span, table: np.ndarray[Any, Any]) -> Callable[[], Array]:
    return lambda: span.block.backend.from_numpy(table)


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if wanted.

    w -= learning_rate * dw, or with momentum: velocity = momentum * velocity - learning_rate * dw;
    w += velocity, or with nesterov: w += momentum * velocity - learning_rate * dw.

    Args:
        learning_rate: the step size.
        momentum: the share of the last step to keep, in [0, 1].
        nesterov: whether to look ahead (Sutskever et al., 2013).
        name: the name to show.

    Raises:
        ArgumentError: a number that makes no sense.

    Example:
        >>> SGD(learning_rate=0.1, momentum=0.9).momentum
        0.9
    """

    hyper_names = ("learning_rate", "momentum")

    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, name)
        self.momentum = momentum
        self.nesterov = nesterov
        self._has_velocity = bool(momentum)
        for hyper in self.hyper_names:
            self._check(hyper, getattr(self, hyper))

    def _check(self, name: str, value: Any) -> None:
        super()._check(name, value)
        if name == "momentum" and value > 1:
            raise ArgumentError(f"SGD takes a momentum from 0 to 1, got {value!r}.")
        if name == "momentum" and value and not self._has_velocity:
            raise ArgumentError(
                f"this SGD was made without momentum, got {value!r}; make another one with "
                "SGD(momentum=...) and compile with it."
            )

    @property
    def slot_count(self) -> int:
        """One velocity if there is momentum."""
        return 1 if self._has_velocity else 0

    def record_update(
        self, op: Recorder, weights: Buffer, slots: Sequence[Buffer], b: _UpdateBuffers
    ) -> None:
        """One launch for all weights of a span."""
        velocity = slots[0] if slots else None
        op.sgd(
            weights,
            velocity,
            b.step,
            b.gradients,
            b.segments,
            b.hyper,
            nesterov=self.nesterov,
            tick=b.tick,
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "nesterov": self.nesterov}


class Adam(Optimizer):
    """Adam: steps scaled by running means of the gradient and of its square.

    m += (1 - beta_1)(dw - m); v += (1 - beta_2)(dw^2 - v);
    w -= learning_rate sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon).

    Args:
        learning_rate: the step size.
        beta_1: the decay of the mean.
        beta_2: the decay of the mean square.
        epsilon: a small number against division by zero; added outside of the bias correction,
            as in Keras.
        name: the name to show.

    Raises:
        ArgumentError: a number that makes no sense.

    Source: Kingma and Ba, 2015, https://arxiv.org/abs/1412.6980.
    """

    hyper_names = ("learning_rate", "beta_1", "beta_2", "epsilon")

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, name)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        for hyper in self.hyper_names:
            self._check(hyper, getattr(self, hyper))

    def _check(self, name: str, value: Any) -> None:
        super()._check(name, value)
        if name.startswith("beta") and value >= 1:
            raise ArgumentError(f"Adam takes a {name} of at least 0 and below 1, got {value!r}.")

    @property
    def slot_count(self) -> int:
        """Momentums and velocities."""
        return 2

    def record_update(
        self, op: Recorder, weights: Buffer, slots: Sequence[Buffer], b: _UpdateBuffers
    ) -> None:
        """One launch for all weights of a span."""
        momentums, velocities = slots
        op.adam(
            weights,
            momentums,
            velocities,
            b.step,
            b.gradients,
            b.segments,
            b.hyper,
            tick=b.tick,
        )


_OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam}


def get(identifier: Any) -> Optimizer:
    """The optimizer of a name, class or object.

    Raises:
        ArgumentError: unknown; a name gets a suggestion.

    Example:
        >>> get("adam").learning_rate
        0.001
    """
    if isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, Optimizer):
        return identifier.from_config({})
    if isinstance(identifier, str):
        return lookup(identifier, _OPTIMIZERS, "optimizer").from_config({})
    raise ArgumentError(f"an optimizer must be a name such as 'adam', got {identifier!r}.")
