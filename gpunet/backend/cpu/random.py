"""Dropout from numbered random numbers: nothing is stored for backward, the mask is made again."""

from __future__ import annotations

import threading
from math import ceil
from typing import Any

import numpy as np

from gpunet.backend.cpu.blocks import flat_blocks
from gpunet.backend.spec import Array


class _Lane(threading.local):
    """One Philox generator a thread: moving it costs 0.6 us, making a new one 6."""

    def __init__(self) -> None:
        self.philox = np.random.Philox(0)
        self.buffer = np.zeros(4, np.uint64)

    def start(self, seed: int, node: int, number: int) -> np.random.Philox:
        """The generator with key (seed, 0) at the start of counter (0, node, number, 0)."""
        state: Any = {
            "bit_generator": "Philox",
            "state": {"counter": (0, node, number, 0), "key": (seed, 0)},
            "buffer": self.buffer,
            "buffer_pos": 4,  # nothing of the buffer is left
            "has_uint32": 0,
            "uinteger": 0,
        }
        self.philox.state = state
        return self.philox


_lane = _Lane()


def dropout(y: Array, x: Array, random: Array, *, rate: float, node: int) -> None:
    """y_i = x_i / (1 - rate) where u_i >= rate, else 0; the gradient is the same op on dy.

    u_i is float32 number i of Philox4x64-10 with key (seed, 0) and counter (0, node, pass, 0).
    """
    seed, number = random.tolist()
    philox = _lane.start(seed, node, number)
    # u = (word >> 8) * 2^-24 >= rate is asked of the words themselves, in 2/3 of the time of
    # Generator.random: word >= ceil(rate * 2^24) * 2^8, where all products are exact.
    threshold = ceil(float(np.float32(rate)) * 2**24) << 8
    factor = 1.0 / (1.0 - rate)
    # A block is a multiple of the 8 words that one counter gives, so blocks continue each other.
    for y_, x_ in flat_blocks(y, x):
        words = philox.random_raw((x_.size + 1) // 2).view(np.uint32)[: x_.size]
        kept = np.greater_equal(words, threshold).reshape(x_.shape)
        np.multiply(x_, factor, out=y_)
        np.multiply(y_, kept, out=y_)
