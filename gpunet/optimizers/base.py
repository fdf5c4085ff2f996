"""What all optimizers share: arguments, state beside the flat weights, and what a step records."""

from __future__ import annotations

import copy
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gpunet import schedules
from gpunet.arguments import AT_LEAST_0, Range, check_names
from gpunet.backend.base import Backend
from gpunet.backend.spec import SEGMENT_COLUMNS, Array
from gpunet.engine.parameters import Parameter, Span
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError, UsageError
from gpunet.optimizers.buffers import UpdateBuffers
from gpunet.optimizers.checks import check_common

if TYPE_CHECKING:
    from gpunet.models import Model

_DECAY, _GROUP = SEGMENT_COLUMNS.index("decay"), SEGMENT_COLUMNS.index("clip_group")


class Optimizer(ABC):
    """Base class: hyper-parameters, and slots beside the flat weights of a model.

    A step does, in this order and as Keras does: average the gradients of
    gradient_accumulation_steps batches; clip them; decay the weights; update them; average the
    weights. The numbers may be changed at any time; the next step uses the new values.

    Args:
        learning_rate: the step size: a number, a schedule, or a function without arguments.
        weight_decay: weights -= learning_rate * weight_decay * weights before each update, for all
            weights but those of `exclude_from_weight_decay`; None for none.
        clipnorm: the largest norm of the gradient of each weight.
        clipvalue: the largest magnitude of each element of a gradient.
        global_clipnorm: the largest norm of all gradients together. Only one of the three may be
            given.
        use_ema: whether to keep an exponential moving average of the weights; at the end of fit it
            takes their place.
        ema_momentum: the share of the average to keep in each step.
        ema_overwrite_frequency: after every so many steps the average takes the weights' place.
        loss_scale_factor: None: gradients are float32 and need no scaled loss.
        gradient_accumulation_steps: batches whose gradients are averaged for one update. The
            average of weights follows the updates; schedules count batches, as in Keras.
        name: the name to show.
        **unknown: nothing; raises an error with a suggestion.

    Raises:
        ArgumentError: a number that makes no sense, or an unknown name.
    """

    hypers: ClassVar[Mapping[str, Range]] = {}
    """The op's own numbers behind learning rate, weight decay and clip: attribute -> range."""

    def __init__(
        self,
        learning_rate: Any,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **unknown: Any,
    ) -> None:
        check_names(type(self), unknown)
        self.weight_decay = weight_decay
        self.clipnorm = clipnorm
        self.clipvalue = clipvalue
        self.global_clipnorm = global_clipnorm
        self.use_ema = use_ema
        self.ema_momentum = ema_momentum
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.loss_scale_factor = loss_scale_factor
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self.name = name or type(self).__name__.lower()
        self._not_decayed: tuple[set[Parameter], re.Pattern[str] | None] = (set(), None)
        self._forget()
        self.learning_rate = learning_rate
        check_common(self)

    def _forget(self) -> None:
        """Start without state."""
        self._backend: Backend | None = None
        self._slots: dict[Span, dict[str, Array]] = {}
        self._step: Array = None
        self._hyper: Array = None
        self._sent: tuple[float, ...] = ()
        self._batches = 0
        self._structure: dict[str, Any] = {}

    @property
    @abstractmethod
    def slots(self) -> dict[str, float]:
        """Buffers as large as the weights, by the op's names, and what they hold at first."""

    @abstractmethod
    def record_update(self, op: Recorder, b: UpdateBuffers) -> None:
        """Record the op that updates one span of weights."""

    # ------------------------------------------------------------- hyper-parameters

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the next step, also where a schedule gives it."""
        rate = self._learning_rate
        if isinstance(rate, float):
            return rate
        return rate(self._batches) if isinstance(rate, schedules.LearningRateSchedule) else rate()

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if not callable(value) or isinstance(value, type):  # a schedule is callable, too
            AT_LEAST_0.check(self, "learning_rate", value, ", a schedule or a function")
            value = float(value)
        self._learning_rate = value

    @property
    def clipping(self) -> str | None:
        """Which of clipnorm, clipvalue and global_clipnorm is given."""
        names = ("clipnorm", "clipvalue", "global_clipnorm")
        return next((name for name in names if getattr(self, name) is not None), None)

    def own_values(self) -> tuple[float, ...]:
        """What hyper holds behind learning rate, weight decay and clip."""
        return tuple([getattr(self, name) for name in self.hypers])

    def check_own(self) -> None:
        """Raise an ArgumentError if one of `hypers` is out of its range."""
        for name, allowed in self.hypers.items():
            allowed.check(self, name, getattr(self, name))

    def _values(self) -> tuple[float, ...]:
        """All that the ops read: hyper, then that of the moving average."""
        return (
            self.learning_rate,
            self.weight_decay or 0.0,
            self.clipnorm or self.clipvalue or self.global_clipnorm or inf,
            *self.own_values(),
            self.ema_momentum,
            self.ema_overwrite_frequency or 0,
        )

    def send_hyper(self) -> None:
        """Copy the hyper-parameters to the device if they changed; call it before each step.

        Raises:
            ArgumentError: one makes no sense.
            UsageError: one would need buffers or ops that the optimizer in use has not got.
        """
        values = self._values()
        if values != self._sent and self._backend is not None:
            AT_LEAST_0.check(self, "learning_rate", values[0])
            check_common(self)
            self.check_own()
            self._check_structure()
            self._backend.write(self._hyper, np.array(values, np.float64))
            self._sent = values

    def _check_structure(self) -> None:
        structure = {
            "clipping": self.clipping,
            "use_ema": self.use_ema,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
            "slots": ", ".join(self.slots),
        }
        for name, now in structure.items():
            was = self._structure.setdefault(name, now)
            if was != now:
                raise UsageError(
                    f"{type(self).__name__} is in use with {name}: {was or None}, and cannot go on "
                    f"with {now or None}; make another optimizer and compile with it."
                )

    def exclude_from_weight_decay(
        self,
        var_list: Sequence[Parameter] | None = None,
        var_names: Sequence[str] | None = None,
    ) -> None:
        """Say which weights do not decay; call it before the first step.

        Args:
            var_list: weights, as ``layer.parameters`` and ``model.parameters`` list them.
            var_names: patterns; a weight in whose name one of them is found does not decay.

        Raises:
            UsageError: the optimizer is in use.
            ArgumentError: something else than weights or patterns.

        Example:
            >>> from gpunet.optimizers import AdamW
            >>> optimizer = AdamW(weight_decay=0.01)
            >>> optimizer.exclude_from_weight_decay(var_names=["bias"])
        """
        if self._backend is not None:
            raise UsageError("exclude_from_weight_decay comes before the optimizer's first use.")
        for parameter in var_list or ():
            if not isinstance(parameter, Parameter):
                raise ArgumentError(
                    "exclude_from_weight_decay takes weights from model.parameters, got "
                    f"{type(parameter).__name__}."
                )
        try:
            if isinstance(var_names, str):  # its letters would be patterns
                raise TypeError("write [...]")
            pattern = re.compile("|".join(var_names)) if var_names else None
        except (TypeError, re.error) as error:
            raise ArgumentError(
                f"exclude_from_weight_decay takes a list of patterns, got {var_names!r}: {error}."
            ) from None
        self._not_decayed = (set(var_list or ()), pattern)

    def decays(self, parameter: Parameter) -> bool:
        """Whether weight decay applies to this weight."""
        excluded, pattern = self._not_decayed
        return parameter not in excluded and not (pattern and pattern.search(parameter.name))

    # -------------------------------------------------------------------- state

    @property
    def iterations(self) -> int:
        """How many updates have been done."""
        return self._batches // (self.gradient_accumulation_steps or 1)

    @property
    def updates_next(self) -> bool:
        """Whether the next step updates the weights; else it only adds up gradients."""
        return (self._batches + 1) % (self.gradient_accumulation_steps or 1) == 0

    def next_are_alike(self, steps: int) -> bool:
        """Whether the next steps all update the weights, and with the same numbers."""
        if self.gradient_accumulation_steps or callable(self._learning_rate):
            return False
        later, values = copy.copy(self), self._values()
        for _ in range(steps - 1):
            later.count_step()
            if later._values() != values:
                return False
        return True

    def count_step(self) -> None:
        """Count a step that has been launched: the host's mirror of the device's counter."""
        self._batches += 1

    def attach(self, backend: Backend, spans: Sequence[Span]) -> None:
        """Make what is missing of the state for these spans on this backend, or move it there."""
        self.check_own()
        self._check_structure()
        if self._backend is not backend:
            self._move(backend)
        for span in spans:
            dtype, state = span.block.dtype, self._slots.get(span)
            if state is None:
                self._slots[span] = self._first_state(backend, span)
            elif any(slot.dtype != dtype for slot in state.values()):
                hosts = {k: backend.to_numpy(slot).astype(dtype) for k, slot in state.items()}
                self._slots[span] = {k: backend.from_numpy(host) for k, host in hosts.items()}

    def _first_state(self, backend: Backend, span: Span) -> dict[str, Array]:
        values = dict(self.slots)
        if self.use_ema:
            values["averages"] = 0.0
        if self.gradient_accumulation_steps:
            values["gradient_sums"] = 0.0
        state = {}
        for name, value in values.items():
            state[name] = backend.empty((span.stop - span.start,), span.block.dtype)
            backend.ops["fill"](state[name], value=value)
        if self.use_ema:
            backend.ops["copy"](state["averages"], span.weights)
        return state

    def _move(self, backend: Backend) -> None:
        old, self._backend = self._backend, backend
        self._step = backend.from_numpy(np.array([self.iterations], np.int64))
        self._hyper = backend.empty((len(self._values()),), "float64")
        self._sent = ()
        for span, state in self._slots.items():
            if old is not None:
                hosts = {k: old.to_numpy(a).astype(span.block.dtype) for k, a in state.items()}
                self._slots[span] = {k: backend.from_numpy(host) for k, host in hosts.items()}

    def without_state(self) -> Optimizer:
        """A copy that has not done a step."""
        fresh = copy.copy(self)
        fresh._forget()
        return fresh

    def finalize_variable_values(self, parameters: Sequence[Parameter]) -> None:
        """With use_ema, put the average in the place of these weights; fit does it at its end."""
        backend, wanted = self._backend, set(parameters)
        if not self.use_ema or backend is None:
            return
        for span, state in self._slots.items():
            for parameter in span.parameters:
                if parameter in wanted and parameter.is_trainable:
                    start = parameter.offset - span.start
                    average = state["averages"][start : start + parameter.size]
                    value = span.block.value(parameter)
                    backend.ops["copy"](value, average.reshape(parameter.shape))

    # ------------------------------------------------------------------ recording

    def record(self, op: Recorder, spans: Sequence[Span]) -> None:
        """Record a step on all spans; what a step without an update leaves out says "update"."""
        op.layer = "optimizer"
        parts = [self._buffers(op, span) for span in spans]
        steps = self.gradient_accumulation_steps
        if steps:
            op.direction = "accumulation"
            for b in parts:
                sums = b.slots["gradient_sums"]
                op.add(sums, sums, b.gradients)
                b.gradients = sums
        op.direction = "update"
        if steps:
            for b in parts:
                op.scale_shift(b.gradients, b.gradients, scale=1.0 / steps, offset=0.0)
        self._record_norms(op, parts, spans)
        for b in parts:
            b.tick = b is parts[-1] and not self.use_ema
            self.record_update(op, b)
        if self.use_ema:
            for b in parts:
                averages, tick = b.slots["averages"], b is parts[-1]
                op.moving_average(averages, b.weights, b.step, b.segments, b.averages, tick=tick)
        if steps:
            for b in parts:
                op.fill(b.gradients, value=0.0)

    def _record_norms(
        self, op: Recorder, parts: Sequence[UpdateBuffers], spans: Sequence[Span]
    ) -> None:
        """The squared norms that the updates clip by: one a weight, or one over all spans."""
        if self.clipping not in ("clipnorm", "global_clipnorm"):
            return
        together = self.clipping == "global_clipnorm"
        everything = op.scratch((1,), "float64", name="norm")
        for i, (b, span) in enumerate(zip(parts, spans, strict=True)):
            own = everything
            if not together:
                own = op.scratch((len(span.parameters),), "float64", name="norms")
            b.norms = own
            op.squared_norms(own, b.gradients, b.segments, accumulate=together and i > 0)

    def _buffers(self, op: Recorder, span: Span) -> UpdateBuffers:
        size, dtype = span.stop - span.start, span.block.dtype
        table = self._table(span)
        numbers = len(self._values()) - 2

        def flat(name: str, resolve: Callable[[], Array]) -> Buffer:
            return op.external(name, (size,), dtype, resolve)

        return UpdateBuffers(
            weights=flat("weights", lambda: span.weights),
            slots={k: flat(k, partial(self._slot, span, k)) for k in self._slots[span]},
            step=op.external("step", (1,), "int64", lambda: self._step),
            gradients=flat("gradients", lambda: span.gradients),
            segments=op.external(
                "segments", table.shape, "float64", cache(partial(_uploaded, span, table))
            ),
            norms=None,
            hyper=op.external("hyper", (numbers,), "float64", lambda: self._hyper[:numbers]),
            averages=op.external("ema", (2,), "float64", lambda: self._hyper[numbers:]),
        )

    def _slot(self, span: Span, name: str) -> Array:
        return self._slots[span][name]

    def _table(self, span: Span) -> np.ndarray[Any, Any]:
        """The span's table with the columns that this optimizer decides."""
        table = span.segments()
        table[:, _DECAY] = [self.decays(parameter) for parameter in span.parameters]
        if self.clipping == "clipnorm":
            table[:, _GROUP] = np.arange(len(table))
        return table

    def step(self, model: Model) -> None:
        """Update a model's weights from the gradients of `Run.backward`.

        Args:
            model: the model whose gradients have been computed.

        Raises:
            UsageError: there are no gradients: backward comes first.
        """
        model.apply_gradients(self)

    # ------------------------------------------------------------------ saving

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain numbers and strings."""
        rate = self._learning_rate
        if isinstance(rate, schedules.LearningRateSchedule):
            rate = schedules.serialize(rate)
        elif callable(rate):
            raise ArgumentError(
                f"{type(self).__name__} cannot save a function as its learning rate; write a "
                "LearningRateSchedule."
            )
        common = {name: getattr(self, name) for name in _COMMON}
        own = {name: getattr(self, name) for name in self.hypers}
        return {"name": self.name, "learning_rate": rate, **common, **own}

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Optimizer:
        """A new optimizer from `get_config`.

        Args:
            config: the constructor's arguments.
            custom_objects: schedules of one's own: class name -> class.
        """
        arguments = dict(config)
        if isinstance(arguments.get("learning_rate"), Mapping):
            rate = schedules.deserialize(arguments["learning_rate"], custom_objects)
            arguments["learning_rate"] = rate
        return cls(**arguments)


_COMMON = (
    "weight_decay",
    "clipnorm",
    "global_clipnorm",
    "clipvalue",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
    "loss_scale_factor",
    "gradient_accumulation_steps",
)


def _uploaded(span: Span, table: np.ndarray[Any, Any]) -> Array:
    return span.block.backend.from_numpy(table)
