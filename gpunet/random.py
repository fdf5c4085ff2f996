"""The one seed of the process and the random numbers drawn on the host.

Everything random in gpunet follows from one seed through the counter-based generator
Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), whose key
is two 64-bit words:

* ``[seed, 0]``: masks and noise that ops draw on the device, addressed by counter;
* ``[seed, k]``, k = 1, 2, ...: the k-th host stream (initial weights, shuffles), one per user;
* ``[seed, 2**63]``: what is drawn with a seed of its own, such as ``HeNormal(seed=1)``.

So the same seed and the same program give the same weights and shuffles on every device.
"""

from __future__ import annotations

import itertools
import operator
import os

import numpy as np

from gpunet.errors import ArgumentError

_OWN_SEED = 2**63

_seed: int | None = None
_stream_numbers = itertools.count(1)


def check_seed(seed: object, limit: int = 2**64) -> int:
    """The seed as a Python int.

    Args:
        seed: what the user gave.
        limit: the first integer that is too large.

    Raises:
        ArgumentError: the seed is no integer from 0 to ``limit - 1``.
    """
    try:
        number = operator.index(seed)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if not 0 <= number < limit:
        raise ArgumentError(
            f"A seed must be an integer from 0 to 2**{limit.bit_length() - 1} - 1, got {seed!r}."
        )
    return number


def set_seed(seed: int) -> None:
    """Start all random numbers of gpunet anew from a seed.

    Args:
        seed: an integer from 0 to 2**64 - 1.

    Raises:
        ArgumentError: the seed is no such integer.

    Example:
        >>> set_seed(1)
        >>> first = next_stream().random()
        >>> set_seed(1)
        >>> first == next_stream().random()
        True
    """
    global _seed, _stream_numbers
    _seed = check_seed(seed)
    _stream_numbers = itertools.count(1)


def seed() -> int:
    """The seed in use; when none was set, it is drawn once from the operating system."""
    global _seed
    if _seed is None:
        # 32 bits, so that the number can be handed to set_random_seed to repeat the run.
        _seed = int.from_bytes(os.urandom(4), "little")
    return _seed


def next_stream() -> np.random.Generator:
    """The next independent host generator, ``Generator(Philox(key=[seed, k]))``, k = 1, 2, ..."""
    return _generator(seed(), next(_stream_numbers))


def seeded_stream(seed: int) -> np.random.Generator:
    """A host generator that depends on nothing but the seed given here.

    Args:
        seed: an integer from 0 to 2**64 - 1.

    Raises:
        ArgumentError: the seed is no such integer.
    """
    return _generator(check_seed(seed), _OWN_SEED)


def _generator(first: int, second: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array([first, second], dtype=np.uint64)))
