"""Op cases: optimizers. Each reference is the textbook formula in float64."""

from __future__ import annotations

import numpy as np

from gpunet.testing.op_checks import (
    Array,
    Case,
    Maker,
    Values,
    given,
    segments,
    uniform,
)


def sgd(
    weights: Array,
    step: Array,
    gradients: Array,
    segments: Array,
    hyper: Array,
    velocity: Array | None = None,
    nesterov: bool = False,
    tick: bool = True,
) -> Values:
    """Stochastic gradient descent, weight by weight."""
    w, momentum = weights.copy(), float(hyper[1])
    v = None if velocity is None else velocity.copy()
    for offset, size, _, factor, trainable, _ in segments:
        part = slice(int(offset), int(offset + size))
        move = -hyper[0] * factor * gradients[part]
        if not trainable:
            continue
        if v is not None:
            v[part] = momentum * v[part] + move
            move = momentum * v[part] + move if nesterov else v[part]
        w[part] += move
    values = {"weights": w, "step": step + tick}
    return values if v is None else values | {"velocity": v}


def adam(
    weights: Array,
    momentums: Array,
    velocities: Array,
    step: Array,
    gradients: Array,
    segments: Array,
    hyper: Array,
    tick: bool = True,
) -> Values:
    """Adam as in Keras' documentation, weight by weight."""
    w, m, v = weights.copy(), momentums.copy(), velocities.copy()
    rate, beta_1, beta_2, epsilon = hyper
    t = int(step[0]) + 1
    for offset, size, _, factor, trainable, _ in segments:
        part = slice(int(offset), int(offset + size))
        if trainable:
            g = gradients[part]
            m[part] = beta_1 * m[part] + (1 - beta_1) * g
            v[part] = beta_2 * v[part] + (1 - beta_2) * g**2
            alpha = rate * factor * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
            w[part] -= alpha * m[part] / (np.sqrt(v[part]) + epsilon)
    return {"weights": w, "momentums": m, "velocities": v, "step": step + tick}


# ---------------------------------------------------------------------------------- the rows


_STEP = given([4], "int64", "step")
_SEGMENTS: tuple[tuple[int, Maker], ...] = (
    (70001, segments((0, 70001, 1.0, 1))),
    (7113, segments((0, 6400, 1.0, 1), (6400, 64, 1.0, 1), (6464, 640, 1.0, 1), (7104, 9, 1.0, 1))),
    (300, segments((0, 100, 1.0, 1), (128, 10, 0.5, 1), (192, 31, 1.0, 0), (256, 44, 1.0, 1))),
)


CASES = (
    Case(
        "sgd",
        sgd,
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
        adam,
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
