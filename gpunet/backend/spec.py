"""What the contract is written in: ops, the roles of their arrays, and the check of one call."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from gpunet.errors import ArgumentError, DtypeError, ShapeError

Array = Any  # numpy.ndarray or the device's array
# The roles of arrays. The annotations of an op are read as text: evaluating them all would cost
# 10 ms at each import.
Out: TypeAlias = Array
Sum: TypeAlias = Array
InOut: TypeAlias = Array
In: TypeAlias = Array
Scratch: TypeAlias = Array


class ElementWise(NamedTuple):
    """What an element-wise activation y = f(x) is to the ops that know it by name.

    Attributes:
        saves: the array that its gradient is written in: "y", the output, or "x", what f was
            applied to. Where both would do it is y: then x need not be kept.
        parameters: the parameters of f with their defaults, at most three numbers.
    """

    saves: str
    parameters: Mapping[str, float] = {}


ACTIVATIONS: Mapping[str, ElementWise] = {
    "linear": ElementWise("y"),
    "relu": ElementWise("y"),
    "sigmoid": ElementWise("y"),
    "tanh": ElementWise("y"),
    "leaky_relu": ElementWise("y", {"negative_slope": 0.2}),
    "bounded_relu": ElementWise(
        "y", {"negative_slope": 0.0, "max_value": math.inf, "threshold": 0.0}
    ),
    "relu6": ElementWise("y"),
    "elu": ElementWise("y", {"alpha": 1.0}),
    "selu": ElementWise("y"),
    "celu": ElementWise("y", {"alpha": 1.0}),
    "softplus": ElementWise("y"),
    "softsign": ElementWise("y"),
    "exponential": ElementWise("y"),
    "log_sigmoid": ElementWise("y"),
    "hard_sigmoid": ElementWise("y"),
    "hard_tanh": ElementWise("y"),
    "sparse_sigmoid": ElementWise("y"),
    "sparse_plus": ElementWise("y"),
    "squareplus": ElementWise("y", {"b": 4.0}),
    "soft_shrink": ElementWise("y", {"threshold": 0.5}),
    "hard_shrink": ElementWise("y", {"threshold": 0.5}),
    "threshold": ElementWise("x", {"threshold": 0.0, "default_value": 0.0}),
    "tanh_shrink": ElementWise("x"),
    "silu": ElementWise("x"),
    "hard_silu": ElementWise("x"),
    "mish": ElementWise("x"),
    "gelu": ElementWise("x"),
    "gelu_tanh": ElementWise("x"),
}
"""The element-wise activations of `bias_act` and of products. They have Keras' names and formulas;
bounded_relu is Keras' relu with arguments, gelu_tanh its gelu(approximate=True). A parameter that
scales the negative side, alpha or b must not be negative: else y does not tell the gradient."""

ELEMENTWISE_LOSSES = (
    "squared",
    "absolute",
    "percentage",
    "squared_logarithmic",
    "huber",
    "log_cosh",
    "poisson",
    "kl_divergence",
    "hinge",
    "squared_hinge",
)
"""The kinds of `elementwise_loss`."""

ROW_NORMS = ("layer", "variance", "rms", "unit")
"""The norms of `layer_norm`."""

INTERPOLATIONS = ("nearest", "bilinear")
FILL_MODES = ("constant", "nearest", "reflect", "wrap")
"""How `affine_image` reads between pixels, and beyond the image."""

_CHOICES = {"norm": ROW_NORMS, "interpolation": INTERPOLATIONS, "fill_mode": FILL_MODES}

FULL = ("float32", "float64")
"""What models compute in, and what must not lose digits is held in."""
HALF = ("float16", "bfloat16")
"""Types of 16 bits; bfloat16 is that of the package ml_dtypes, which is needed for nothing else."""
REAL = (*FULL, *HALF)
"""What the arrays of an op may hold for which the contract names no dtype."""
COUNT_EPSILON = 1e-7
"""What is added to how many rows a mask counts, by which sums are divided (Keras' epsilon())."""
SEGMENT_COLUMNS = ("offset", "size", "decay", "learning_rate_factor", "trainable", "clip_group")
"""The columns of a segment table: one row for each weight of a flat buffer, in order of offset."""
PENALTY_COLUMNS = ("offset", "size", "l1", "l2")
"""The columns of a table of penalties: one row for each regularized weight, in order of offset."""

Form = tuple[str, tuple[str, ...]]
"""One allowed form of an array: its dtype (or "real", "full", "any") and its dimensions' names."""


def full_of(real: str) -> str:
    """The dtype of ``full`` arrays beside ``real`` ones of this dtype."""
    return "float64" if real == "float64" else "float32"


def dtype_of_kind(kind: str, real: str) -> str:
    """The dtype of arrays of a form's kind, beside real ones of this dtype; that also for any."""
    return {"real": real, "any": real, "full": full_of(real)}.get(kind, kind)


@dataclass(frozen=True)
class Parameter:
    """One array argument of an op: its role, whether it may be None, and its allowed forms."""

    name: str
    role: str
    optional: bool
    forms: tuple[Form, ...]

    @property
    def written(self) -> bool:
        """Whether the op writes this array, leaving results there."""
        return self.role in ("out", "sum", "inout")

    @property
    def read(self) -> bool:
        """Whether the op always reads what this array held (a Sum only when it accumulates)."""
        return self.role in ("in", "inout")


Shapes = Mapping[str, tuple[int, ...]]
"""The shapes of an op's arrays by name; what was left out is not there."""
Constraint = Callable[[str, Shapes, Mapping[str, Any]], None]
"""Raises an error if shapes and attributes of the op of this name do not fit each other."""
ScratchSize = Callable[[Shapes, Mapping[str, Any]], int]
"""How many elements of scratch memory an op needs."""


@dataclass(frozen=True)
class Op:
    """What the contract says of one op."""

    name: str
    family: str  # the module that it stands in, of the contract and of each backend
    signature: inspect.Signature
    parameters: tuple[Parameter, ...]
    in_place: tuple[tuple[str, str], ...]  # (output, input) that may be the same memory
    transpose: dict[str, str]  # array -> the flag that transposes it
    doc: str
    constraint: Constraint | None = None
    scratch: ScratchSize | None = None

    def check(self, arrays: Sequence[Array | None], attributes: dict[str, Any]) -> None:
        """Raise an error in one sentence if the arrays or attributes do not fit this op.

        Args:
            arrays: one entry an array parameter, in the contract's order; anything with ``shape``
                and ``dtype`` (real arrays, or the recorder's buffer handles).
            attributes: the keyword arguments.

        Raises:
            ArgumentError: a wrong number of arrays, a missing array, an unknown attribute.
            ShapeError: a rank or size that does not fit the arrays before it.
            DtypeError: a dtype that the contract does not allow.
        """
        if len(arrays) != len(self.parameters):
            raise ArgumentError(
                f"op {self.name} takes {len(self.parameters)} arrays "
                f"({', '.join(p.name for p in self.parameters)}), got {len(arrays)}."
            )
        self._check_attributes(attributes)
        sizes: dict[str, Any] = {}
        for parameter, array in zip(self.parameters, arrays, strict=True):
            if array is not None:
                self._check_array(parameter, array, attributes, sizes)
            elif parameter.role != "scratch" and (
                not parameter.optional or self._must_be_saved(parameter, attributes)
            ):
                raise ArgumentError(
                    f"op {self.name} needs an array for {parameter.name!r}, got None."
                )
        shapes = self._shapes(arrays)
        if self.constraint is not None:
            self.constraint(self.name, shapes, attributes)
        if "scratch" in shapes and shapes["scratch"] != self.scratch_shape(arrays, attributes):
            raise ShapeError(
                f"op {self.name}: scratch of shape {shapes['scratch']} has another size than the "
                f"op expects, {self.scratch_shape(arrays, attributes)}."
            )

    def scratch_shape(
        self, arrays: Sequence[Array | None], attributes: dict[str, Any]
    ) -> tuple[int]:
        """The shape of the scratch memory that the op needs for arrays that fit."""
        size = self.scratch(self._shapes(arrays), attributes) if self.scratch else 0
        return (size,)

    def _shapes(self, arrays: Sequence[Array | None]) -> dict[str, tuple[int, ...]]:
        pairs = zip(self.parameters, arrays, strict=True)
        return {p.name: tuple(array.shape) for p, array in pairs if array is not None}

    def least_bytes(self, arrays: Sequence[Array | None], attributes: dict[str, Any]) -> int:
        """Bytes of each array that is read, once, plus each that is written, once."""
        total = 0
        adds = attributes.get("accumulate", False)
        for parameter, array in zip(self.parameters, arrays, strict=True):
            if array is None:
                continue
            size = math.prod(array.shape)
            if self.name == "gather" and parameter.name == "x":  # of which it reads some rows
                size = math.prod(arrays[0].shape) if arrays[0] is not None else 0
            reads = parameter.read or (parameter.role == "sum" and adds)
            total += size * np.dtype(array.dtype).itemsize * (int(reads) + int(parameter.written))
        return total

    def _check_attributes(self, attributes: dict[str, Any]) -> None:
        arrays = {p.name for p in self.parameters}
        known = [name for name in self.signature.parameters if name not in arrays]
        for name in attributes:
            if name not in known:
                raise ArgumentError(f"op {self.name} knows {', '.join(known)}, got {name!r}.")
        for name in known:
            required = self.signature.parameters[name].default is inspect.Parameter.empty
            if required and name not in attributes:
                raise ArgumentError(f"op {self.name} needs the keyword argument {name!r}.")
        kind = attributes.get("kind", "squared")
        if kind not in ELEMENTWISE_LOSSES:
            raise ArgumentError(
                f"op {self.name} knows the kinds {', '.join(ELEMENTWISE_LOSSES)}, got {kind!r}."
            )
        for name, values in _CHOICES.items():
            if attributes.get(name, values[0]) not in values:
                raise ArgumentError(
                    f"op {self.name} takes {', '.join(values)} for {name}, "
                    f"got {attributes[name]!r}."
                )
        if "activation" in attributes:
            self._check_activation(attributes["activation"], attributes.get("parameters", ()))

    def _must_be_saved(self, parameter: Parameter, attributes: dict[str, Any]) -> bool:
        """Only the linear activation's gradient is written in nothing."""
        return parameter.name == "saved" and attributes["activation"] != "linear"

    def _check_activation(self, activation: str, parameters: tuple[float, ...]) -> None:
        if activation not in ACTIVATIONS:
            raise ArgumentError(
                f"op {self.name} knows the activations {', '.join(ACTIVATIONS)}, "
                f"got {activation!r}."
            )
        names = ACTIVATIONS[activation].parameters
        if parameters and len(parameters) != len(names):
            expected = f"({', '.join(names)})" if names else "no parameters"
            raise ArgumentError(
                f"op {self.name} with {activation} takes {expected}, got {parameters!r}."
            )

    def _check_array(
        self, parameter: Parameter, array: Array, attributes: dict[str, Any], sizes: dict[str, Any]
    ) -> None:
        where = f"op {self.name}: {parameter.name}"
        shape, dtype = tuple(array.shape), np.dtype(array.dtype).name
        of_rank = [f for f in parameter.forms if f[1] == ("...",) or len(f[1]) == len(shape)]
        if not of_rank:
            forms = " or ".join(f"({', '.join(dims)})" for _, dims in parameter.forms)
            raise ShapeError(f"{where} must have the shape {forms}, got {shape}.")
        fitting = [dims for kind, dims in of_rank if _dtype_fits(kind, dtype, sizes)]
        if not fitting:
            fitting_real = [r for r in REAL if full_of(r) == sizes.get("full", full_of(r))]
            known = {"real": " or ".join(fitting_real), "full": " or ".join(FULL), **sizes}
            expected = " or ".join(str(known.get(kind, kind)) for kind, _ in of_rank)
            raise DtypeError(f"{where} must be {expected}, got {dtype}.")
        if attributes.get(self.transpose.get(parameter.name, "")):
            shape = shape[:-2] + shape[:-3:-1]
        actual = (shape,) if fitting[0] == ("...",) else shape
        for dim, size in zip(fitting[0], actual, strict=True):
            wanted = int(dim) if dim.isdigit() else sizes.setdefault(dim, size)
            if size != wanted:
                meaning = "the shape of the others" if dim == "..." else dim
                raise ShapeError(
                    f"{where} of shape {tuple(array.shape)} has {size} where the op expects "
                    f"{wanted} ({meaning})."
                )


def _dtype_fits(kind: str, dtype: str, sizes: dict[str, Any]) -> bool:
    """Whether dtype is of this kind; the first arrays of a call fix what real and full mean."""
    if kind == "real":
        fits = dtype in REAL and full_of(dtype) == sizes.setdefault("full", full_of(dtype))
        return fits and dtype == sizes.setdefault("real", dtype)
    if kind == "full":
        return dtype in FULL and dtype == sizes.setdefault("full", dtype)
    return kind in ("any", dtype)


OPS: dict[str, Op] = {}
"""Every op by name, in the order of the contract."""

_Function = TypeVar("_Function", bound=Callable[..., None])


def op(
    constraint: Constraint | None = None,
    scratch: ScratchSize | None = None,
    /,
    *,
    in_place: str = "",
    transpose: str = "",
    **shapes: str,
) -> Callable[[_Function], _Function]:
    """Enter the decorated signature into `OPS`; the package contract explains the notation."""

    def register(function: _Function) -> _Function:
        signature = inspect.signature(function)
        parameters = []
        for name in signature.parameters:
            if name in shapes:
                role, _, optional = function.__annotations__[name].partition(" | ")
                forms = tuple(_parse_form(form) for form in shapes[name].split("|"))
                parameters.append(Parameter(name, role.lower(), bool(optional), forms))
        OPS[function.__name__] = Op(
            name=function.__name__,
            family=function.__module__.rpartition(".")[2],
            signature=signature,
            parameters=tuple(parameters),
            in_place=tuple(_parse_pairs(in_place)),
            transpose=dict(_parse_pairs(transpose)),
            doc=inspect.getdoc(function) or "",
            constraint=constraint,
            scratch=scratch,
        )
        return function

    return register


def _parse_form(text: str) -> Form:
    dtype, _, dims = text.rpartition(":")
    return dtype.strip() or "real", tuple(dims.split())


def _parse_pairs(text: str) -> list[tuple[str, str]]:
    pairs = [pair.split("=") for pair in text.split()]
    return [(left, right) for left, right in pairs]
