"""How weights start: Keras' initializers, drawn on the host.

An initializer is called with a shape and a dtype and returns a new NumPy array. Random ones draw
float32 numbers whatever the dtype, so that a float64 copy of a model starts from the same weights.
Without a ``seed`` each call takes the next stream of the process' seed (``gpunet.random``), so
that one initializer given to two layers does not make twins; with one it always returns the same
values.

Example:
    >>> kernel = GlorotUniform(seed=1)((784, 64))
    >>> kernel.shape, kernel.dtype, bool(abs(kernel).max() <= (6 / (784 + 64)) ** 0.5)
    ((784, 64), dtype('float32'), True)
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

import numpy as np

from gpunet import random
from gpunet.arguments import FINITE, shown
from gpunet.errors import ArgumentError, ShapeError
from gpunet.identifiers import lookup
from gpunet.saving.configs import from_description

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

Array: TypeAlias = np.ndarray[Any, Any]
InitializerLike: TypeAlias = Callable[..., Array]
Shape: TypeAlias = Sequence[int]
Self = TypeVar("Self", bound="Initializer")

# The standard deviation of a standard normal cut off at -2 and 2.
_TRUNCATED_STDDEV = 0.87962566103423978
_MODES = {name: name for name in ("fan_in", "fan_out", "fan_avg")}
_DISTRIBUTIONS = {name: name for name in ("truncated_normal", "untruncated_normal", "uniform")}
_DISTRIBUTIONS["normal"] = "truncated_normal"


class Initializer:
    """Base class: ``initializer(shape, dtype="float32")`` returns the initial values.

    A subclass writes ``__call__``. Its constructor keeps each argument in an attribute of the same
    name, or it writes ``get_config`` too.

    Example:
        >>> class Halves(Initializer):
        ...     def __call__(self, shape, dtype="float32"):
        ...         return np.full(shape, 0.5, dtype)
        >>> Halves()((2,))
        array([0.5, 0.5], dtype=float32)
    """

    def __call__(self, shape: Shape, dtype: DTypeLike = "float32") -> Array:
        """New values of this shape and dtype."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(shape, dtype).")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    @classmethod
    def from_config(cls: type[Self], config: Mapping[str, Any]) -> Self:
        """The initializer that ``get_config`` described."""
        return cls(**config)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


class Constant(Initializer):
    """All values are ``value``, one number.

    Example:
        >>> Constant(3)((2,))
        array([3., 3.], dtype=float32)
    """

    def __init__(self, value: float = 0.0) -> None:
        self.value = FINITE.check(self, "value", value)

    def __call__(self, shape: Shape, dtype: DTypeLike = "float32") -> Array:
        """An array filled with the value."""
        return np.full(_sizes(shape), self.value, dtype)


class Zeros(Initializer):
    """All values are 0."""

    def __call__(self, shape: Shape, dtype: DTypeLike = "float32") -> Array:
        """An array of zeros."""
        return np.zeros(_sizes(shape), dtype)


class Ones(Initializer):
    """All values are 1."""

    def __call__(self, shape: Shape, dtype: DTypeLike = "float32") -> Array:
        """An array of ones."""
        return np.ones(_sizes(shape), dtype)


class Identity(Initializer):
    """``gain`` on the diagonal of a matrix, 0 elsewhere.

    Raises:
        ShapeError: the shape asked for has not two dimensions.

    Example:
        >>> Identity()((2, 2))
        array([[1., 0.],
               [0., 1.]], dtype=float32)
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = FINITE.check(self, "gain", gain)

    def __call__(self, shape: Shape, dtype: DTypeLike = "float32") -> Array:
        """The scaled identity matrix."""
        sizes = _sizes(shape)
        if len(sizes) != 2:
            raise ShapeError(f"Identity makes matrices, got the shape {sizes}: use two dimensions.")
        return (self.gain * np.eye(*sizes)).astype(dtype)


class _Random(Initializer):
    """Base of the random initializers: one float32 draw per call, scaled by the subclass."""

    def __init__(self, seed: int | None = None) -> None:
        self.seed = None if seed is None else random.check_seed(seed)

    def __call__(self, shape: Shape, dtype: DTypeLike = "float32") -> Array:
        """New random values; with a seed the same ones at every call."""
        stream = random.next_stream() if self.seed is None else random.seeded_stream(self.seed)
        return self._draw(stream, _sizes(shape)).astype(dtype, copy=False)

    def _draw(self, stream: np.random.Generator, shape: tuple[int, ...]) -> Array:
        raise NotImplementedError


class RandomNormal(_Random):
    """Normal with the given mean and standard deviation.

    Args:
        mean: the mean.
        stddev: the standard deviation, at least 0.
        seed: makes every call return the same values.
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        if not stddev >= 0:
            raise ArgumentError(
                f"{type(self).__name__} needs stddev of at least 0, got {stddev!r}."
            )
        self.mean = FINITE.check(self, "mean", mean)
        self.stddev = stddev

    def _draw(self, stream: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return _scaled(stream.standard_normal(shape, np.float32), self.stddev, self.mean)


class TruncatedNormal(RandomNormal):
    """Normal, with values farther than two ``stddev`` from the mean drawn again.

    ``stddev`` is that of the normal before the cut; what comes out has 0.8796 of it.

    Args:
        mean: the mean.
        stddev: the standard deviation before the cut, at least 0.
        seed: makes every call return the same values.
    """

    def _draw(self, stream: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return _scaled(_truncated_normal(stream, shape), self.stddev, self.mean)


class RandomUniform(_Random):
    """Uniform from ``minval`` (included) to ``maxval``.

    Args:
        minval: the lower end.
        maxval: the upper end, at least ``minval``.
        seed: makes every call return the same values.
    """

    def __init__(
        self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None
    ) -> None:
        super().__init__(seed)
        if not maxval >= minval:
            raise ArgumentError(
                f"RandomUniform needs minval up to maxval, got {minval!r} and {maxval!r}."
            )
        self.minval = minval
        self.maxval = maxval

    def _draw(self, stream: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return _scaled(stream.random(shape, np.float32), self.maxval - self.minval, self.minval)


class VarianceScaling(_Random):
    """Mean 0 and variance ``scale / n``, where n comes from the shape of the weight.

    n is ``fan_in``, ``fan_out`` or their mean (``fan_avg``), see ``compute_fans``. The uniform
    distribution reaches from ``-sqrt(3 scale / n)`` to ``sqrt(3 scale / n)``.

    Args:
        scale: a positive factor.
        mode: "fan_in", "fan_out" or "fan_avg".
        distribution: "truncated_normal" (or "normal"), "untruncated_normal" or "uniform".
        seed: makes every call return the same values.

    Raises:
        ArgumentError: the scale is not positive, or mode or distribution is unknown.

    Example:
        >>> VarianceScaling(2.0, "fan_out", "uniform", seed=3)((4, 6)).shape
        (4, 6)
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        if not scale > 0:
            raise ArgumentError(f"VarianceScaling needs a positive scale, got {scale!r}.")
        self.scale = scale
        self.mode = lookup(mode, _MODES, "mode")
        self.distribution = lookup(distribution, _DISTRIBUTIONS, "distribution")

    def _draw(self, stream: np.random.Generator, shape: tuple[int, ...]) -> Array:
        fan_in, fan_out = compute_fans(shape)
        fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        variance = self.scale / max(1.0, fans[self.mode])
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return _scaled(stream.random(shape, np.float32), 2.0 * limit, -limit)
        stddev = math.sqrt(variance)
        if self.distribution == "untruncated_normal":
            return _scaled(stream.standard_normal(shape, np.float32), stddev)
        return _scaled(_truncated_normal(stream, shape), stddev / _TRUNCATED_STDDEV)


class _Preset(VarianceScaling):
    """A VarianceScaling with a name of its own, whose only argument is the seed."""

    _preset: ClassVar[tuple[float, str, str]]

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(*self._preset, seed=seed)


class GlorotUniform(_Preset):
    """Uniform within ``sqrt(6 / (fan_in + fan_out))`` of 0 (Glorot and Bengio, 2010)."""

    _preset = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Preset):
    """Truncated normal of variance ``2 / (fan_in + fan_out)`` (Glorot and Bengio, 2010)."""

    _preset = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_Preset):
    """Uniform within ``sqrt(6 / fan_in)`` of 0 (He et al., 2015), for ReLU networks."""

    _preset = (2.0, "fan_in", "uniform")


class HeNormal(_Preset):
    """Truncated normal of variance ``2 / fan_in`` (He et al., 2015), for ReLU networks."""

    _preset = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_Preset):
    """Uniform within ``sqrt(3 / fan_in)`` of 0 (LeCun et al., 1998)."""

    _preset = (1.0, "fan_in", "uniform")


class LecunNormal(_Preset):
    """Truncated normal of variance ``1 / fan_in`` (LeCun et al., 1998), for SELU networks."""

    _preset = (1.0, "fan_in", "truncated_normal")


class Orthogonal(_Random):
    """A matrix with orthonormal columns (or rows, if it is wide), times ``gain``.

    Q of the QR decomposition of a normal matrix, with the signs of R's diagonal so that it is
    uniform (Saxe et al., 2014). More dimensions are flattened up to the last one. The decomposition
    is LAPACK's: another library or version may differ in the last bits.

    Args:
        gain: factor on the matrix.
        seed: makes every call return the same values.

    Raises:
        ShapeError: the shape asked for has less than two dimensions.
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.gain = FINITE.check(self, "gain", gain)

    def _draw(self, stream: np.random.Generator, shape: tuple[int, ...]) -> Array:
        if len(shape) < 2:
            raise ShapeError(f"Orthogonal needs at least two dimensions, got the shape {shape}.")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        tall = (max(rows, columns), min(rows, columns))
        q, r = np.linalg.qr(stream.standard_normal(tall, np.float32).astype(np.float64))
        q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)
        if rows < columns:
            q = q.T
        return (self.gain * q).reshape(shape).astype(np.float32, order="C")


def compute_fans(shape: Shape) -> tuple[int, int]:
    """How many inputs reach one output, and how many outputs one input reaches.

    Args:
        shape: of a vector (n,), a matrix (fan_in, fan_out) or a convolution kernel
            (*receptive field, channels in, channels out).

    Returns:
        fan_in and fan_out.

    Example:
        >>> compute_fans((3, 3, 16, 32))
        (144, 288)
    """
    if len(shape) < 2:
        fan = int(shape[0]) if shape else 1
        return fan, fan
    field = math.prod(shape[:-2])
    return int(shape[-2] * field), int(shape[-1] * field)


def get(identifier: object) -> InitializerLike:
    """The initializer that a layer's argument stands for.

    Args:
        identifier: a name ("he_normal"), a config from ``serialize``, an initializer, a class of
            one, or any function of (shape, dtype).

    Returns:
        Something to call with (shape, dtype).

    Raises:
        ArgumentError: the name or config is unknown, or it is none of these.

    Example:
        >>> get("he_normal")
        HeNormal(seed=None)
    """
    if isinstance(identifier, str):
        return lookup(identifier, _NAMES, "initializer")()
    if isinstance(identifier, Mapping):
        made: Initializer = from_description(identifier, _NAMES, "initializer")
        return made
    if isinstance(identifier, type) and issubclass(identifier, Initializer):
        return identifier()
    if callable(identifier) and not isinstance(identifier, type):
        return identifier
    raise ArgumentError(
        "An initializer must be a name such as 'glorot_uniform', a config, an Initializer or a"
        f" function of (shape, dtype), got {shown(identifier)}."
    )


def serialize(initializer: InitializerLike) -> dict[str, Any]:
    """Describe an initializer by plain values that ``get`` takes.

    Raises:
        ArgumentError: it is a plain function, which no values describe.

    Example:
        >>> serialize(Ones())
        {'class_name': 'Ones', 'config': {}}
    """
    if not isinstance(initializer, Initializer):
        raise ArgumentError(
            f"an initializer that is a function cannot be put into a config, got {initializer!r}:"
            " subclass Initializer."
        )
    return {"class_name": type(initializer).__name__, "config": initializer.get_config()}


def _sizes(shape: Shape) -> tuple[int, ...]:
    sizes = tuple(int(size) for size in shape)
    if min(sizes, default=0) < 0:
        raise ShapeError(f"An initializer needs sizes of at least 0, got the shape {sizes}.")
    return sizes


def _scaled(values: Array, factor: float, offset: float = 0.0) -> Array:
    """``factor * values + offset`` in place and in float32."""
    values *= np.float32(factor)
    values += np.float32(offset)
    return values


def _truncated_normal(stream: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Standard normal numbers, those beyond -2 and 2 drawn again."""
    values = stream.standard_normal(math.prod(shape), np.float32)
    beyond = np.flatnonzero(np.abs(values) > 2)
    while beyond.size:
        again = stream.standard_normal(beyond.size, np.float32)
        values[beyond] = again
        beyond = beyond[np.abs(again) > 2]
    return values.reshape(shape)


_NAMES: dict[str, type[Initializer]] = {
    "Constant": Constant,
    "Identity": Identity,
    "Orthogonal": Orthogonal,
    "RandomNormal": RandomNormal,
    "RandomUniform": RandomUniform,
    "TruncatedNormal": TruncatedNormal,
    "Zeros": Zeros,
    "Ones": Ones,
    **{cls.__name__: cls for cls in _Preset.__subclasses__()},
    "VarianceScaling": VarianceScaling,
    "zero": Zeros,
    "one": Ones,
    "normal": RandomNormal,
    "uniform": RandomUniform,
}
