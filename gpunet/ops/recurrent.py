"""Plain functions: recurrent layers."""

from __future__ import annotations

from typing import Any

from gpunet.backend.dispatch import run_op
from gpunet.backend.spec import Array


def lstm(
    z: Any,
    recurrent_kernel: Any,
    h0: Any = None,
    c0: Any = None,
    mask: Any = None,
    reverse: bool = False,
) -> dict[str, Array]:
    """All steps of an LSTM: a dict of y, cells, gates, and of the last state h and c.

    Args:
        z: x kernel + bias, (batch, steps, 4 * units), the gates in Keras' order i f c o.
        recurrent_kernel: (units, 4 * units).
        h0: the first state, (batch, units), or None for zeros.
        c0: the first cells, or None.
        mask: (batch, steps) of uint8: 0 where the state stays as it is; None for 1 everywhere.
        reverse: whether to take the steps from the last to the first; see the contract.

    >>> import numpy as np
    >>> z = np.zeros((1, 2, 4), np.float32)  # all gates are 1/2 open
    >>> lstm(z, np.zeros((1, 4), np.float32), c0=[[4.0]])["cells"]
    array([[[2.],
            [1.]]], dtype=float32)
    """
    arrays = {"z": z, "recurrent_kernel": recurrent_kernel, "h0": h0, "c0": c0, "mask": mask}
    written = run_op("lstm", arrays, reverse=reverse)
    return {name: written[name] for name in ("y", "cells", "gates", "h", "c")}


def lstm_backward(
    gates: Any,
    cells: Any,
    recurrent_kernel: Any,
    dy: Any = None,
    dh: Any = None,
    dc: Any = None,
    c0: Any = None,
    mask: Any = None,
    reverse: bool = False,
) -> tuple[Array, Array, Array]:
    """The gradients (dz, dh0, dc0) of `lstm` from those of y and of the last state.

    >>> import numpy as np
    >>> z, kernel = np.zeros((1, 1, 4), np.float32), np.zeros((1, 4), np.float32)
    >>> made = lstm(z, kernel, c0=[[4.0]])
    >>> dz, dh0, dc0 = lstm_backward(made["gates"], made["cells"], kernel, dc=[[1.0]], c0=[[4.0]])
    >>> dz, dc0
    (array([[[0. , 1. , 0.5, 0. ]]], dtype=float32), array([[0.5]], dtype=float32))
    """
    arrays = {"dy": dy, "dh": dh, "dc": dc, "gates": gates, "cells": cells, "c0": c0}
    arrays |= {"recurrent_kernel": recurrent_kernel, "mask": mask}
    written = run_op("lstm_backward", arrays, reverse=reverse)
    return written["dz"], written["dh0"], written["dc0"]


def gru(
    x: Any,
    recurrent_kernel: Any,
    recurrent_bias: Any = None,
    h0: Any = None,
    mask: Any = None,
    reverse: bool = False,
) -> dict[str, Array]:
    """All steps of a GRU: a dict of y, memories, gates, and of the last state h.

    Args:
        x: inputs kernel + bias, (batch, steps, 3 * units), the gates in Keras' order z r h.
        recurrent_kernel: (units, 3 * units).
        recurrent_bias: (3 * units,), or None for zeros.
        h0: the first state, (batch, units), or None for zeros.
        mask: (batch, steps) of uint8: 0 where the state stays as it is; None for 1 everywhere.
        reverse: whether to take the steps from the last to the first; see the contract.

    >>> import numpy as np
    >>> x = np.zeros((1, 2, 3), np.float32)  # all gates are 1/2 open
    >>> gru(x, np.zeros((1, 3), np.float32), h0=[[4.0]])["y"]
    array([[[2.],
            [1.]]], dtype=float32)
    """
    arrays = {"x": x, "recurrent_kernel": recurrent_kernel, "recurrent_bias": recurrent_bias}
    written = run_op("gru", {**arrays, "h0": h0, "mask": mask}, reverse=reverse)
    return {name: written[name] for name in ("y", "memories", "gates", "h")}


def gru_backward(
    gates: Any,
    memories: Any,
    y: Any,
    recurrent_kernel: Any,
    dy: Any = None,
    dh: Any = None,
    h0: Any = None,
    mask: Any = None,
    reverse: bool = False,
) -> tuple[Array, Array, Array]:
    """The gradients (dx, dm, dh0) of `gru` from those of y and of the last state.

    >>> import numpy as np
    >>> x, kernel = np.zeros((1, 1, 3), np.float32), np.zeros((1, 3), np.float32)
    >>> made = gru(x, kernel, h0=[[4.0]])
    >>> saved = made["gates"], made["memories"], made["y"], kernel
    >>> dx, dm, dh0 = gru_backward(*saved, dh=[[1.0]], h0=[[4.0]])
    >>> dx, dh0
    (array([[[1. , 0. , 0.5]]], dtype=float32), array([[0.5]], dtype=float32))
    """
    arrays = {"dy": dy, "dh": dh, "gates": gates, "memories": memories, "y": y, "h0": h0}
    arrays |= {"recurrent_kernel": recurrent_kernel, "mask": mask}
    written = run_op("gru_backward", arrays, reverse=reverse)
    return written["dx"], written["dm"], written["dh0"]


def previous_steps(x: Any, first: Any = None, reverse: bool = False) -> Array:
    """The state before each step: ``first`` (or zeros), then x without its last step.

    >>> previous_steps([[[1.0], [2.0], [4.0]]]).tolist()
    [[[0.0], [1.0], [2.0]]]
    >>> previous_steps([[[1.0], [2.0], [4.0]]], reverse=True).tolist()
    [[[2.0], [1.0], [0.0]]]
    """
    return run_op("previous_steps", {"x": x, "first": first}, reverse=reverse)["y"]


def masked_steps(
    a: Any,
    b: Any,
    mask: Any,
    first: int = 0,
    reverse: bool = False,
    lasting: bool = False,
) -> Array:
    """a at the steps where the mask is 1, b (or zero, for None) at the others.

    Args:
        a: (batch, steps, units), or None for zeros, if b is none.
        b: the same.
        mask: (batch, inputs) of uint8.
        first: the number of the first step of a and b; behind it the mask must have as many.
        reverse: whether the first step is that of the last input.
        lasting: whether a 1 also counts for all steps after its own.

    >>> import numpy as np
    >>> mask = np.array([[0, 1, 0]], np.uint8)
    >>> masked_steps([[[1.0], [2.0], [3.0]]], None, mask).tolist()
    [[[0.0], [2.0], [0.0]]]
    """
    arrays = {"a": a, "b": b, "mask": mask}
    written = run_op("masked_steps", arrays, first=first, reverse=reverse, lasting=lasting)
    return written["y"]


def reverse_steps(x: Any) -> Array:
    """x with its last step first.

    >>> reverse_steps([[[1.0], [2.0], [4.0]]]).tolist()
    [[[4.0], [2.0], [1.0]]]
    """
    return run_op("reverse_steps", {"x": x})["y"]
