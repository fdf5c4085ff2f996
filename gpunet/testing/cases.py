"""The table of op cases: for every op of the contract a reference, arguments and gradients.

From this table ``tests/backend/test_ops.py`` makes every test of every backend, so that a new op
needs a reference (``references.py``) and one row of `CASES` here, and no new test.

In a row's calls a tuple is the shape of normal random numbers, a `Maker` makes other arrays, and
the rest are the op's keyword arguments. Arrays that the op writes are made from the contract; one
is only named where its shape or dtype does not follow from the others, or as ``name=None`` to leave
it out. Shapes are awkward on purpose: nothing divides by 4 or 32, no rows, one column, rows longer
than a thread block, and arrays of more than one block of the cpu backend.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunet.backend.spec import ACTIVATIONS
from gpunet.testing import references as ref
from gpunet.testing.op_checks import (
    Case,
    Gradient,
    Maker,
    Values,
    classes,
    given,
    integers,
    normal,
    segments,
    shares,
    uniform,
)

# --------------------------------------------------------------------------- shared calls

_SHAPES = ((1, 1), (33, 31), (5, 1023), (0, 31), (1023, 1), (37, 1025))


def _losses(
    x: Callable[[int, int], Maker],
    *labels: Callable[[int, int], Maker],
    totals: tuple[str, ...] = ("totals", "accuracy_totals"),
) -> tuple[Values, ...]:
    """Calls of a loss on inputs and labels that are functions of (rows, columns)."""
    begin = {name: given([3.0, 4.0], label=name) for name in totals}
    calls: list[Values] = []
    for make in labels:
        for shape in _SHAPES:
            calls.append({"x": x(*shape), "labels": make(*shape), "scale": 0.5, **begin})
        small = {"x": x(7, 10), "labels": make(7, 10), "scale": 2.0, **begin}
        calls.append({**small, "sample_weight": uniform(7)})
        calls.append({**small, "dx": None})
        if len(totals) > 1:
            calls.append({**small, "correct": None, "accuracy_totals": None})
    return tuple(calls)


_LABELS_OUTSIDE: Values = {
    "x": uniform(7, 10),
    "labels": given([2, -1, 10, 0, 2**31 - 1, -(2**31), 9], "int32", "outside"),
    "scale": 1.0,
    "dx": None,  # whose value is then unspecified
    "totals": given([3.0, 4.0], label="totals"),
    "accuracy_totals": given([3.0, 4.0], label="totals"),
}


def _own_gradient(op: str, *arrays: str) -> tuple[Gradient, ...]:
    """A loss computes its own gradient; dy is then ``scale`` for each row."""
    same = {name: name for name in ("x", "labels", "sample_weight", "totals", *arrays)}
    return (Gradient(op, "loss", {"dx": "x"}, same),)


_PRODUCTS = ((1, 1, 1), (33, 31, 17), (5, 1023, 3), (0, 7, 5), (65, 1, 129), (3, 0, 5))


def _products(*flags: str, **more: Any) -> tuple[Values, ...]:
    """Calls of a product c (m, n) = op(a) op(b): all shapes, with one flag or both or none set.

    What is a function in ``more`` is called with (m, n).
    """
    calls = []
    for m, k, n in (*_PRODUCTS, (200, 9, 201)):
        for on in ((), *((flag,) for flag in flags), flags):
            a = (k, m) if "ta" in on else (m, k)
            b = (n, k) if "tb" in on else (k, n)
            extra = {key: value(m, n) if callable(value) else value for key, value in more.items()}
            call = {"a": a, "b": b, **extra, **{flag: flag in on for flag in flags}}
            if call not in calls:
                calls.append(call)
    return tuple(calls)


# ------------------------------------------------------------------------------ the table

_A_SEED = given([7, 3], "uint64", "random")
_STEP = given([4], "int64", "step")
_SEGMENTS: tuple[tuple[int, Maker], ...] = (
    (70001, segments((0, 70001, 1.0, 1))),
    (7113, segments((0, 6400, 1.0, 1), (6400, 64, 1.0, 1), (6464, 640, 1.0, 1), (7104, 9, 1.0, 1))),
    (300, segments((0, 100, 1.0, 1), (128, 10, 0.5, 1), (192, 31, 1.0, 0), (256, 44, 1.0, 1))),
)

CASES: dict[str, Case] = {
    case.op: case
    for case in (
        Case(
            "fill",
            ref.fill,
            (
                {"y": (33, 31), "value": 1.5},
                {"y": (0, 3), "value": 1.0},
                {"y": integers(1023, high=9), "value": 7},
                {"y": integers(33, high=9, dtype="uint8"), "value": 255},
            ),
        ),
        Case(
            "copy",
            ref.copy,
            (
                {"x": (3, 11, 31)},
                {"x": (0, 3)},
                {"x": (70001,)},
                {"y": integers(1023, high=9), "x": integers(1023, high=99)},
                {
                    "y": integers(33, high=9, dtype="uint8"),
                    "x": integers(33, high=99, dtype="uint8"),
                },
            ),
        ),
        Case("add", ref.add, tuple({"a": s, "b": s} for s in ((3, 11, 31), (0, 3), (70001,)))),
        Case(
            "scale_shift",
            ref.scale_shift,
            (
                *({"x": s, "scale": 0.3, "offset": -2.0} for s in ((3, 11, 31), (0, 3), (70001,))),
                {"x": integers(70001, high=256, dtype="uint8"), "scale": 1 / 255, "offset": 0.0},
                {"x": integers(33, low=-999, high=999), "scale": 2.0, "offset": 0.5},
            ),
        ),
        Case(
            "gather",
            ref.gather,
            (
                {"x": (50, 31), "indices": integers(33, high=50)},
                {"x": (50, 31), "indices": integers(0, high=50)},
                {"x": (2000, 1), "indices": integers(1023, high=2000)},
                {"x": (90, 1025), "indices": integers(37, high=90), "scale": 0.5, "offset": 1.0},
                {
                    "x": integers(50, 785, high=256, dtype="uint8"),
                    "indices": integers(65, high=50),
                    "scale": 1 / 255,
                },
                {
                    "y": integers(33, 1, high=9),
                    "x": integers(50, 1, high=10),
                    "indices": integers(33, high=50),
                },
            ),
        ),
        Case(
            "bias_act",
            ref.bias_act,
            (
                *({"x": s, "bias": (s[1],), "activation": "relu"} for s in _SHAPES),
                *({"x": (33, 31), "bias": (31,), "activation": a} for a in ACTIVATIONS),
                *({"x": (37, 1025), "activation": a} for a in ACTIVATIONS),
            ),
            (
                Gradient(
                    "bias_act_backward",
                    "y",
                    {"dx": "x", "dbias": "bias"},
                    {"dy": "dy", "y": "y"},
                ),
            ),
        ),
        Case(
            "bias_act_backward",
            ref.bias_act_backward,
            (
                *({"dy": s, "y": s, "activation": "relu"} for s in _SHAPES),
                *({"dy": (33, 31), "y": (33, 31), "activation": a} for a in ACTIVATIONS),
                {"dy": (37, 1025), "y": (37, 1025), "activation": "tanh", "dbias": None},
                {"dy": (33, 31), "activation": "linear"},
            ),
            float32=3e-5,
        ),
        Case(
            "softmax",
            ref.softmax,
            tuple({"x": s} for s in (*_SHAPES, (300, 10), (3, 33000))),
            (Gradient("softmax_backward", "y", {"dx": "x"}, {"dy": "dy", "y": "y"}),),
        ),
        Case(
            "softmax_backward",
            ref.softmax_backward,
            tuple({"dy": s, "y": shares(*s)} for s in (*_SHAPES, (300, 10), (3, 33000))),
        ),
        Case(
            "gemm",
            ref.gemm,
            _products("ta", "tb"),
            (
                Gradient(
                    "gemm",
                    "c",
                    {"c": "a"},
                    {"a": "dy", "b": "b"},
                    lambda f: None if f["ta"] else {"tb": not f["tb"]},
                ),
                Gradient(
                    "gemm",
                    "c",
                    {"c": "a"},
                    {"a": "b", "b": "dy"},
                    lambda f: {"ta": f["tb"], "tb": True} if f["ta"] else None,
                ),
                Gradient(
                    "gemm",
                    "c",
                    {"c": "b"},
                    {"a": "a", "b": "dy"},
                    lambda f: None if f["tb"] else {"ta": not f["ta"]},
                ),
                Gradient(
                    "gemm",
                    "c",
                    {"c": "b"},
                    {"a": "dy", "b": "a"},
                    lambda f: {"ta": True, "tb": f["ta"]} if f["tb"] else None,
                ),
            ),
            float32=1e-4,
        ),
        Case(
            "gemm_bias_act",
            ref.gemm_bias_act,
            (
                *_products("ta", "tb", bias=lambda m, n: (n,), activation="relu"),
                *({"a": (9, 7), "b": (7, 5), "bias": (5,), "activation": a} for a in ACTIVATIONS),
                {"a": (9, 7), "b": (7, 5), "activation": "tanh"},
            ),
            (
                Gradient(
                    "gemm_column_sum",
                    "c",
                    {"c": "b", "column_sum": "bias"},
                    {"a": "a", "b": "dy"},
                    lambda f: {"ta": True} if f == {"activation": "linear"} else None,
                ),
            ),
            float32=1e-4,
        ),
        Case(
            "gemm_act_backward",
            ref.gemm_act_backward,
            (
                *_products("ta", "tb", y=normal, activation="relu"),
                *({"a": (9, 7), "b": (7, 5), "y": (9, 5), "activation": a} for a in ACTIVATIONS),
            ),
            float32=1e-4,
        ),
        Case(
            "gemm_column_sum",
            ref.gemm_column_sum,
            (*_products("ta"), {"a": (300, 3), "b": (300, 129), "ta": True}),
            float32=1e-4,
        ),
        Case(
            "softmax_cross_entropy",
            ref.softmax_cross_entropy,
            (*_losses(normal, classes, shares), _LABELS_OUTSIDE),
            _own_gradient("softmax_cross_entropy", "accuracy_totals"),
        ),
        Case(
            "cross_entropy",
            ref.cross_entropy,
            (*_losses(uniform, classes, shares), _LABELS_OUTSIDE),
            _own_gradient("cross_entropy", "accuracy_totals"),
            float32=3e-5,
        ),
        Case(
            "sigmoid_cross_entropy",
            ref.sigmoid_cross_entropy,
            _losses(normal, uniform),
            _own_gradient("sigmoid_cross_entropy", "accuracy_totals"),
        ),
        Case(
            "binary_cross_entropy",
            ref.binary_cross_entropy,
            _losses(uniform, uniform),
            _own_gradient("binary_cross_entropy", "accuracy_totals"),
        ),
        Case(
            "mean_squared_error",
            ref.mean_squared_error,
            _losses(normal, normal, totals=("totals",)),
            _own_gradient("mean_squared_error"),
        ),
        Case(
            "accuracy",
            ref.accuracy,
            tuple(
                {
                    "x": uniform(*shape),
                    "labels": make(*shape),
                    "accuracy_totals": given([3.0, 4.0], label="totals"),
                }
                for make in (classes, uniform)
                for shape in _SHAPES
            ),
        ),
        Case(
            "dropout",
            ref.dropout,
            tuple(
                {"x": shape, "random": _A_SEED, "rate": rate, "node": 5}
                for shape, rate in (((3, 11, 31), 0.3), ((0, 3), 0.5), ((70001,), 0.1), ((9,), 0.0))
            ),
            (Gradient("dropout", "y", {"y": "x"}, {"x": "dy", "random": "random"}),),
        ),
        Case(
            "sgd",
            ref.sgd,
            tuple(
                {"weights": (n,), "gradients": (n,), "segments": table, "step": _STEP, **options}
                for n, table in _SEGMENTS
                for options in (
                    {"hyper": given([0.1, 0.0], label="plain"), "velocity": None},
                    {"hyper": given([0.1, 0.9], label="momentum"), "velocity": (n,)},
                    {
                        "hyper": given([0.1, 0.9], label="hyper"),
                        "velocity": (n,),
                        "nesterov": True,
                        "tick": False,
                    },
                )
            ),
        ),
        Case(
            "adam",
            ref.adam,
            tuple(
                {
                    "weights": (n,),
                    "momentums": (n,),
                    "velocities": uniform(n),
                    "gradients": (n,),
                    "segments": table,
                    "step": _STEP,
                    "hyper": given([0.01, 0.9, 0.999, 1e-7], label="hyper"),
                    "tick": tick,
                }
                for n, table in _SEGMENTS
                for tick in (True, False)
            ),
        ),
    )
}
