"""CTC: launches of kernels/sequence_losses.cu."""

from __future__ import annotations

import numpy as np

from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.cuda.grids import WARP, ceil_div, packed_width, power_of_two
from gpunet.backend.spec import Array
from gpunet.errors import ShapeError

_SOURCE = "sequence_losses"
_MOST_THREADS, _STATES_PER_THREAD = 512, 8


def ctc(
    device: Device,
    dx: Array | None,
    loss: Array,
    totals: Array,
    x: Array,
    labels: Array,
    sample_weight: Array | None,
    lengths: Array | None,
    label_lengths: Array | None,
    scratch: Array = None,
    *,
    scale: float,
    blank: int = 0,
) -> None:
    """loss = -log of the probability that a sample's steps spell its labels."""
    (batch, steps, classes), length = x.shape, labels.shape[1]
    states = 2 * length + 1
    if states > _MOST_THREADS * _STATES_PER_THREAD:
        most = (_MOST_THREADS * _STATES_PER_THREAD - 1) // 2
        raise ShapeError(f"op ctc takes up to {most} labels a sample on the GPU, got {length}.")
    if batch == 0:
        return
    log_sums, lattice, links = _parts(scratch, batch * steps, batch * steps * states, dx)
    sizes = (np.int32(steps), np.int32(classes), np.int32(length), np.int32(blank))
    packed = np.int32(packed_width(classes, dx, x) > 1)
    rows = batch * steps
    grid = (min(max(1, ceil_div(rows, THREADS // WARP)), device.max_blocks),)
    stretch = (log_sums, x, np.int64(rows), np.int32(classes), packed)
    device.launch(_SOURCE, "ctc_log_sums", x, grid, (THREADS,), stretch)
    given, factor = (labels, sample_weight, lengths), np.float64(scale)
    threads = min(_MOST_THREADS, max(WARP, power_of_two(states)))  # for sums over the block
    paths = (loss, totals, lattice, links, x, *given, label_lengths, log_sums, factor, *sizes)
    shared = 2 * states * log_sums.itemsize
    device.launch(_SOURCE, "ctc", x, (batch,), (threads,), (*paths, device.tickets), shared)
    if dx is not None:
        slopes = (dx, lattice, links, x, loss, *given, log_sums, factor, np.int64(batch), *sizes)
        device.launch(_SOURCE, "ctc_gradient", x, grid, (THREADS,), (*slopes, packed))


def _parts(
    scratch: Array, rows: int, states: int, dx: Array | None
) -> tuple[Array, Array | None, Array | None]:
    """The log-sums; for a gradient alpha and beta of all states, and the links of all labels."""
    if dx is None:
        return scratch, None, None
    return scratch[:rows], scratch[rows : rows + states], scratch[rows + states :].view(np.int32)
