"""Dropout and noise from numbered random numbers: backward draws them again, nothing is stored."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from math import ceil
from typing import Any

import numpy as np

from gpunet.backend.cpu.blocks import BLOCK, ONE, flat_blocks, row_blocks
from gpunet.backend.spec import Array

_NUMBERS = 8  # words of 32 bits that one counter gives


class _Lane(threading.local):
    """One Philox generator a thread: moving it costs 0.6 us, making a new one 6."""

    def __init__(self) -> None:
        self.philox = np.random.Philox(0)
        self.buffer = np.zeros(4, np.uint64)

    def start(self, seed: int, node: int, number: int, block: int = 0) -> np.random.Philox:
        """The generator with key (seed, 0) at the start of counter (block, node, number, 0)."""
        state: Any = {
            "bit_generator": "Philox",
            "state": {"counter": (block, node, number, 0), "key": (seed, 0)},
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
    threshold = _threshold(rate)
    factor = 1.0 / (1.0 - rate)
    # A block is a multiple of the 8 words that one counter gives, so blocks continue each other.
    for y_, x_ in flat_blocks(y, x):
        words = philox.random_raw((x_.size + 1) // 2).view(np.uint32)[: x_.size]
        kept = np.greater_equal(words, threshold).reshape(x_.shape)
        np.multiply(x_, factor, out=y_)
        np.multiply(y_, kept, out=y_)


def kept_numbers(random: Array, first: int, count: int, *, rate: float, node: int) -> Array:
    """Whether `dropout` keeps so many elements of an array from its element ``first`` on."""
    seed, number = random.tolist()
    block, before = divmod(first, _NUMBERS)
    philox = _lane.start(seed, node, number, block)
    words = philox.random_raw((before + count + 1) // 2).view(np.uint32)
    return np.greater_equal(words[before : before + count], _threshold(rate))


def _threshold(rate: float) -> int:
    """What a word must reach: u = (word >> 8) * 2^-24 >= rate is asked of the words themselves.

    That takes 2/3 of the time of Generator.random: word >= ceil(rate * 2^24) * 2^8, where all
    products are exact.
    """
    return ceil(float(np.float32(rate)) * 2**24) << 8


def spatial_dropout(y: Array, x: Array, random: Array, *, rate: float, node: int) -> None:
    """y = x / (1 - rate) where u >= rate, else 0, for whole channels: one u for all positions."""
    seed, number = random.tolist()
    philox = _lane.start(seed, node, number)
    factor, channels = 1.0 / (1.0 - rate), x.shape[2]
    # As many samples at a time as have a multiple of the 8 numbers of a counter, in a block.
    samples = max(8, BLOCK // max(x[:1].size, 1) // 8 * 8)
    for start in range(0, len(x), samples):
        y_, x_ = y[start : start + samples], x[start : start + samples]
        words = philox.random_raw((len(x_) * channels + 1) // 2).view(np.uint32)
        kept = np.greater_equal(words[: len(x_) * channels], _threshold(rate))
        np.multiply(x_, factor, out=y_)
        np.multiply(y_, kept.reshape(-1, 1, channels), out=y_)


def gaussian_noise(y: Array, x: Array, random: Array, *, stddev: float, node: int) -> None:
    """y_i = x_i + stddev n_i, where n_i is normal."""
    for y_, x_, normal in _normal_blocks(y, x, random, node):
        np.multiply(normal, stddev, out=normal)
        np.add(x_, normal, out=y_)


def gaussian_dropout(y: Array, x: Array, random: Array, *, stddev: float, node: int) -> None:
    """y_i = x_i (1 + stddev n_i); the gradient is the same op on dy."""
    for y_, x_, normal in _normal_blocks(y, x, random, node):
        np.multiply(normal, stddev, out=normal)
        np.add(normal, ONE, out=normal)
        np.multiply(x_, normal, out=y_)


def _normal_blocks(
    y: Array, x: Array, random: Array, node: int
) -> Iterator[tuple[Array, Array, Array]]:
    """Blocks of the flat arrays with as many normal numbers."""
    seed, number = random.tolist()
    philox = _lane.start(seed, node, number)
    for y_, x_ in row_blocks(y.reshape(-1), x.reshape(-1), size=BLOCK // 4):
        pairs = philox.random_raw((x_.size + 1) // 2).view(np.uint32).reshape(-1, 2)
        uniform = (pairs >> np.uint32(8)).astype(x_.dtype)
        np.multiply(uniform, 2.0**-24, out=uniform)
        radius = np.sqrt(-2.0 * np.log1p(-uniform[:, 0]))
        angle = (2.0 * np.pi) * uniform[:, 1]
        np.multiply(radius, np.cos(angle), out=uniform[:, 0])
        np.multiply(radius, np.sin(angle), out=uniform[:, 1])
        yield y_, x_, uniform.reshape(-1)[: x_.size]
