"""What can be called during ``fit``, ``evaluate`` and ``predict``: Keras' callbacks.

``logs`` is a mapping from names ("loss", "val_accuracy") to numbers. In the hooks of a batch it may
be lazy: a value is read from the device when it is looked up, so look only when you need it.

Example:
    >>> class Stop(Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         if logs["loss"] < 0.1:
    ...             self.model.stop_training = True
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TextIO, TypeAlias

from gpunet.errors import ArgumentError, MissingDependency, UsageError
from gpunet.identifiers import lookup
from gpunet.progress import Bar, can_redraw

Logs: TypeAlias = Mapping[str, Any]


class Callback:
    """Base class: override the hooks that you want.

    Attributes:
        model: the model that runs, set before the first hook.
        params: ``verbose``, ``epochs`` and ``steps`` (None when unknown) of the run.
    """

    # True on an instance whose batch hooks would do nothing, so that the loop need not call them.
    _ignores_batches = False

    model: Any = None
    params: Logs | None = None

    def set_model(self, model: Any) -> None:
        """Called once before the run with its model."""
        self.model = model

    def set_params(self, params: Logs) -> None:
        """Called once before the run with its parameters."""
        self.params = params

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Older name of ``on_train_batch_begin``."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Older name of ``on_train_batch_end``."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """``fit`` starts."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """``fit`` ends; logs are those of the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """An epoch of ``fit`` starts; epochs count from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """An epoch of ``fit`` ends; logs hold its metrics and ``val_`` ones of the validation."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """A training step starts; batches count from 0 in each epoch."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """A training step ends; logs hold the metrics of the epoch so far."""
        self.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """``evaluate``, or a validation in ``fit``, starts."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """``evaluate``, or a validation in ``fit``, ends; logs hold its metrics."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """A batch of an evaluation starts."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """A batch of an evaluation ends; logs hold the metrics so far."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """``predict`` starts."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """``predict`` ends."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """A batch of a prediction starts."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """A batch of a prediction ends; logs hold its ``outputs``."""


_MODES = ("train", "test", "predict")
_BATCH_HOOKS = [f"on_{mode}_batch_{moment}" for mode in _MODES for moment in ("begin", "end")]
_INDEXED_HOOKS = ["on_epoch_begin", "on_epoch_end", "on_batch_begin", "on_batch_end", *_BATCH_HOOKS]
_RUN_HOOKS = [f"on_{mode}_{moment}" for mode in _MODES for moment in ("begin", "end")]
_HOOKS = {name: name for name in (*_RUN_HOOKS, *_INDEXED_HOOKS)}


class LambdaCallback(Callback):
    """A callback made of functions.

    Args:
        hooks: names of hooks and what to call there, with the hook's arguments: ``(epoch, logs)``,
            ``(batch, logs)`` or ``(logs)``.

    Raises:
        ArgumentError: there is no such hook.

    Example:
        >>> show = LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs["loss"]))
        >>> show.on_epoch_end(0, {"loss": 0.5})
        0 0.5
    """

    def __init__(self, **hooks: Callable[..., object] | None) -> None:
        for name, function in hooks.items():
            if function is not None:
                setattr(self, lookup(name, _HOOKS, "callback hook"), function)


class CallbackList(Callback):
    """Several callbacks as one, calling only the hooks that somebody wrote.

    Args:
        callbacks: a callback or a (nested) list of them.
        add_history: add a ``History`` if there is none.
        add_progbar: add a ``ProgressBar`` if there is none.
        model: given to each callback by ``set_model``.
        params: given to each callback by ``set_params``: ``verbose``, ``epochs``, ``steps``.

    Attributes:
        callbacks: the callbacks, in the order in which they are called.
        history: the ``History`` among them, or None.
        has_batch_hooks: whether any hook of a batch does something; the flags
            ``has_train_batch_hooks``, ``has_test_batch_hooks`` and ``has_predict_batch_hooks`` say
            so for each mode, so that a loop need not even make the logs.

    Raises:
        ArgumentError: one of the callbacks is none.

    Example:
        >>> calls = CallbackList([LambdaCallback(on_train_end=lambda logs: print("done"))])
        >>> calls.on_train_end()
        done
        >>> calls.has_batch_hooks
        False
    """

    def __init__(
        self,
        callbacks: Callback | Iterable[Any] | None = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ) -> None:
        self.callbacks = _flat(callbacks)
        if add_history and not any(isinstance(c, History) for c in self.callbacks):
            self.callbacks.append(History())
        if add_progbar and not any(isinstance(c, ProgressBar) for c in self.callbacks):
            self.callbacks.append(ProgressBar())
        self.history = next((c for c in self.callbacks if isinstance(c, History)), None)
        if model is not None:
            self.set_model(model)
        self.set_params(params)

    def set_model(self, model: Any) -> None:
        """Give the model to each callback, and the history to the model."""
        super().set_model(model)
        if self.history is not None:
            model.history = self.history
        for callback in self.callbacks:
            callback.set_model(model)

    def set_params(self, params: Logs) -> None:
        """Give the parameters of the run to each callback."""
        super().set_params(params)
        if params:
            for callback in self.callbacks:
                callback.set_params(params)
        self._connect()

    def _connect(self) -> None:
        """Make each hook of this list a loop over the callbacks that override it."""
        for name in _RUN_HOOKS:
            setattr(self, name, partial(_call_each, self._written(name)))
        for name in _INDEXED_HOOKS:
            setattr(self, name, partial(_call_each_indexed, self._written(name)))
        self.has_train_batch_hooks = self._acts_on_batches("train")
        self.has_test_batch_hooks = self._acts_on_batches("test")
        self.has_predict_batch_hooks = self._acts_on_batches("predict")
        self.has_batch_hooks = self._acts_on_batches("")

    def _acts_on_batches(self, mode: str) -> bool:
        return any(self._written(name) for name in _BATCH_HOOKS if mode in name)

    def _written(self, name: str) -> list[Callable[..., object]]:
        return [getattr(callback, name) for callback in self.callbacks if _writes(callback, name)]


def _flat(callbacks: object) -> list[Callback]:
    if callbacks is None:
        return []
    if isinstance(callbacks, Callback):
        return [callbacks]
    if isinstance(callbacks, Iterable) and not isinstance(callbacks, (str, type)):
        return [callback for entry in callbacks for callback in _flat(entry)]
    hint = ": put () behind the class" if isinstance(callbacks, type) else ""
    raise ArgumentError(f"callbacks must be instances of Callback, got {callbacks!r}{hint}.")


def _writes(callback: Callback, name: str) -> bool:
    """Whether the callback does something at this hook."""
    if name in _BATCH_HOOKS and callback._ignores_batches:
        return False
    if name.startswith("on_train_batch") and _writes(callback, name.replace("train_", "")):
        return True  # the newer name calls the older one
    # A bound method of the base class does nothing; a function set on the instance does.
    return getattr(getattr(callback, name), "__func__", None) is not getattr(Callback, name)


def _call_each(hooks: list[Callable[..., object]], logs: Logs | None = None) -> None:
    for hook in hooks:
        hook({} if logs is None else logs)


def _call_each_indexed(
    hooks: list[Callable[..., object]], index: int, logs: Logs | None = None
) -> None:
    for hook in hooks:
        hook(index, {} if logs is None else logs)


class History(Callback):
    """The metrics of each epoch; ``fit`` returns one.

    Attributes:
        history: name -> one number per epoch, with ``val_`` names for the validation.
        epoch: the epochs run, counted from 0.

    Example:
        >>> history = History()
        >>> history.on_train_begin()
        >>> history.on_epoch_end(0, {"loss": 0.5})
        >>> history.history
        {'loss': [0.5]}
    """

    def __init__(self) -> None:
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []
        # With validation_freq=2 a series has fewer values than there are epochs.
        self._epochs_of: dict[str, list[int]] = {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget which epochs ran."""
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Keep the numbers of the epoch."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(_number(value))
            self._epochs_of.setdefault(name, []).append(epoch + 1)
        if self.model is not None:
            self.model.history = self

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw the loss and each metric over the epochs, with the validation's curve beside it.

        Args:
            path: the image file to write (.png, .svg, .pdf); without one the figure belongs to
                ``matplotlib.pyplot``, whose ``show()`` opens it.

        Returns:
            The ``matplotlib.figure.Figure``.

        Raises:
            MissingDependency: matplotlib is not installed.
            UsageError: no epoch has ended yet.
        """
        names = sorted((n for n in self.history if not n.startswith("val_")), key="loss".__ne__)
        if not names:
            raise UsageError("History.plot has nothing to draw before the first epoch: call fit.")
        figure = _new_figure((4.5 * len(names), 3.5), shown=path is None)
        for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            for series, label in ((name, "training"), (f"val_{name}", "validation")):
                if series in self.history:
                    axes.plot(self._epochs_of[series], self.history[series], ".-", label=label)
            axes.set(xlabel="epoch", ylabel=name)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
            axes.legend()
        if path is not None:
            figure.savefig(path)
        return figure


def _new_figure(size: tuple[float, float], shown: bool) -> Any:
    try:
        from matplotlib import figure, pyplot
    except ImportError as error:
        raise MissingDependency(
            "History.plot needs matplotlib, which is not installed: pip install 'gpunet[plot]'."
        ) from error
    # pyplot keeps its figures until they are closed: only those that show() is to find go there.
    make = pyplot.figure if shown else figure.Figure
    return make(figsize=size, layout="constrained")


class ProgressBar(Callback):
    """Prints how a run goes, in Keras' formats.

    ``verbose=1`` redraws a bar (``32/32 ━━━━━━━━━━━━━━━━━━━━ 1s 17ms/step - loss: 2.3372``),
    ``verbose=2`` prints a line per epoch (``32/32 - 1s - 17ms/step - loss: 2.3372``), 0 nothing.
    ``"auto"`` is 1 in a terminal or notebook and 2 elsewhere. Where nothing can be redrawn, such as
    a file, ``verbose=1`` prints only the complete bar.

    Args:
        stream: where to print; ``sys.stdout`` when it is not given.
        interval: the least seconds between two redraws; logs are only looked at then.

    Raises:
        ArgumentError: ``verbose`` is none of these.
    """

    def __init__(self, stream: TextIO | None = None, interval: float = 0.05) -> None:
        self._stream = stream
        self._interval = interval
        self._in_fit = False
        self.set_params({})

    def set_params(self, params: Logs) -> None:
        """Take ``verbose``, ``epochs`` and ``steps`` of the run."""
        super().set_params(params)
        verbose = params.get("verbose", "auto")
        if verbose not in (0, 1, 2, "auto"):
            raise ArgumentError(f"verbose must be 0, 1, 2 or 'auto', got {verbose!r}.")
        redraws = can_redraw(self._stream or sys.stdout)
        self._verbose = (1 if redraws else 2) if verbose == "auto" else int(verbose)
        self._epochs: int = params.get("epochs") or 1
        self._steps: int | None = params.get("steps")
        # Batches matter where a bar moves, and to count the steps when nobody knows them.
        moves = redraws and self._verbose == 1
        self._ignores_batches = not moves and (not self._verbose or bool(self._steps))
        self._start()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """From here on validations are silent."""
        self._in_fit = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Evaluations print again."""
        self._in_fit = False

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Print ``Epoch 1/5``."""
        if self._verbose and self._epochs > 1:
            print(f"Epoch {epoch + 1}/{self._epochs}", file=self._stream, flush=True)
        self._start()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Print the epoch's line."""
        self._finish(logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Redraw the bar if it is time."""
        self._bar.update(batch + 1, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Start a bar."""
        if not self._in_fit:
            self._start()

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Redraw the bar if it is time."""
        if not self._in_fit:
            self._bar.update(batch + 1, logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Print the evaluation's line."""
        if not self._in_fit:
            self._finish(logs)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Start a bar."""
        self._start()

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Redraw the bar if it is time; logs hold the outputs, which are no numbers to print."""
        self._bar.update(batch + 1)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Print the prediction's line."""
        self._finish(None)

    def _start(self) -> None:
        self._bar = Bar(self._steps, self._verbose, self._stream, self._interval)

    def _finish(self, logs: Logs | None) -> None:
        self._steps = self._steps or self._bar.seen  # the first epoch counts them for the others
        self._bar.finish(logs)


ProgbarLogger = ProgressBar  # Keras' name


def _number(value: Any) -> Any:
    """A Python float where it is one number (also of NumPy or on a device)."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return value
