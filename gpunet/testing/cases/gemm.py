"""Op cases: gemm. Each reference is the textbook formula in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.testing.cases.activations import EACH, act, act_derivative, saved_by
from gpunet.testing.op_checks import (
    Array,
    Case,
    Gradient,
    Values,
    normal,
)


def _product(a: Array, b: Array, ta: bool, tb: bool) -> Array:
    return np.asarray(np.einsum(f"{'km' if ta else 'mk'},{'nk' if tb else 'kn'}->mn", a, b))


def gemm(a: Array, b: Array, ta: bool = False, tb: bool = False) -> Values:
    """A matrix product."""
    return {"c": _product(a, b, ta, tb)}


def gemm_bias_act(
    a: Array,
    b: Array,
    activation: str,
    parameters: tuple[float, ...] = (),
    bias: Array | None = None,
    ta: bool = False,
    tb: bool = False,
) -> Values:
    """A dense layer."""
    c = _product(a, b, ta, tb)
    return {"c": act(c if bias is None else c + bias, activation, parameters)}


def gemm_act_backward(
    a: Array,
    b: Array,
    saved: Array,
    activation: str,
    parameters: tuple[float, ...] = (),
    ta: bool = False,
    tb: bool = False,
) -> Values:
    """The gradient before a dense layer and the activation before it."""
    return {"c": _product(a, b, ta, tb) * act_derivative(saved, activation, parameters)}


def gemm_column_sum(a: Array, b: Array, ta: bool = False) -> Values:
    """The gradients of a dense layer's kernel and bias."""
    return {"c": _product(a, b, ta, False), "column_sum": b.sum(axis=0)}


def batched_gemm(a: Array, b: Array, ta: bool = False, tb: bool = False) -> Values:
    """A product of each pair."""
    left, right = a.swapaxes(1, 2) if ta else a, b.swapaxes(1, 2) if tb else b
    return {"c": left @ right}


# ---------------------------------------------------------------------------------- the rows


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


CASES = (
    Case(
        "gemm",
        gemm,
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
        gemm_bias_act,
        (
            *_products("ta", "tb", bias=lambda m, n: (n,), activation="relu"),
            *({"a": (9, 7), "b": (7, 5), "bias": (5,), **flags} for flags in EACH),
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
        gemm_act_backward,
        (
            *_products("ta", "tb", saved=normal, activation="relu"),
            *({"a": (9, 7), "b": (7, 5), "saved": saved_by(f, 9, 5), **f} for f in EACH),
        ),
        float32=1e-4,
    ),
    Case(
        "gemm_column_sum",
        gemm_column_sum,
        (*_products("ta"), {"a": (300, 3), "b": (300, 129), "ta": True}),
        float32=1e-4,
    ),
    Case(
        "batched_gemm",
        batched_gemm,
        tuple(
            {
                "a": (batch, k, m) if ta else (batch, m, k),
                "b": (batch, n, k) if tb else (batch, k, n),
                "ta": ta,
                "tb": tb,
            }
            for batch, m, n, k in ((3, 5, 7, 9), (2, 1, 1, 33), (1, 65, 40, 12), (0, 2, 3, 4))
            for ta, tb in ((False, False), (True, False), (False, True), (True, True))
        ),
        (
            Gradient(
                "batched_gemm",
                "c",
                {"c": "a"},
                {"a": "dy", "b": "b"},
                lambda f: None if f["ta"] else {"ta": False, "tb": not f["tb"]},
            ),
            Gradient(
                "batched_gemm",
                "c",
                {"c": "b"},
                {"a": "a", "b": "dy"},
                lambda f: None if f["tb"] else {"ta": not f["ta"], "tb": False},
            ),
        ),
        float32=1e-4,
    ),
)
