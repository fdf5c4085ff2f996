"""How many warps of a kernel a multiprocessor can hold at the same time.

The limits stand in NVIDIA's CUDA Programming Guide, "Technical Specifications per Compute
Capability"; the steps in which registers and shared memory are dealt in ``cuda_occupancy.h`` of the
CUDA toolkit, with which a test compares.
"""

from __future__ import annotations

from typing import NamedTuple

from gpunet.errors import ArgumentError

_WARP = 32
_REGISTERS = 65536  # a multiprocessor's, dealt to warps in steps of 256 by each of four schedulers
_REGISTER_STEP = 256
_SCHEDULERS = 4


class _Limits(NamedTuple):
    """What a multiprocessor holds: warps, blocks, bytes of shared memory; and how that is dealt."""

    warps: int
    blocks: int
    shared: int
    shared_step: int
    shared_reserved: int  # by the driver, of each block


_LIMITS = {
    75: _Limits(32, 16, 64 * 1024, 256, 0),
    80: _Limits(64, 32, 164 * 1024, 128, 1024),
    86: _Limits(48, 16, 100 * 1024, 128, 1024),
    89: _Limits(48, 24, 100 * 1024, 128, 1024),
    90: _Limits(64, 32, 228 * 1024, 128, 1024),
    100: _Limits(64, 32, 228 * 1024, 128, 1024),
    120: _Limits(48, 24, 100 * 1024, 128, 1024),
}


def occupancy(architecture: int, threads: int, registers: int, shared: int) -> float:
    """The share of a multiprocessor's warps that blocks of a kernel can fill.

    Args:
        architecture: the compute capability times ten.
        threads: of a block.
        registers: of a thread.
        shared: bytes of shared memory of a block.

    Returns:
        A number from 0 (no block fits) to 1.

    Raises:
        ArgumentError: an architecture whose limits are not listed.

    Example:
        >>> from gpunet.inspection import occupancy
        >>> occupancy(90, threads=256, registers=64, shared=0)
        0.5
    """
    if architecture not in _LIMITS:
        known = ", ".join(map(str, _LIMITS))
        raise ArgumentError(f"the occupancy is known for sm_{known}, got {architecture}.")
    limits = _LIMITS[architecture]
    warps = _round_up(threads, _WARP) // _WARP
    blocks = min(limits.warps // warps, limits.blocks)
    if registers:
        of_warp = _round_up(registers * _WARP, _REGISTER_STEP)
        held = _REGISTERS // _SCHEDULERS // of_warp * _SCHEDULERS
        blocks = min(blocks, held // warps)
    of_block = _round_up(shared + limits.shared_reserved, limits.shared_step)
    if of_block:
        blocks = min(blocks, limits.shared // of_block)
    return blocks * warps / limits.warps


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step
