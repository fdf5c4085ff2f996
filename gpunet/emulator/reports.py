"""The sentences in which the checked build reports what it found."""

from __future__ import annotations

from gpunet.emulator.module import Actor, Crash
from gpunet.emulator.regions import Regions
from gpunet.emulator.trace import ATOMIC, READS, WRITES

# FaultKind in runtime/block.h.
PLAIN, OUT_OF_BOUNDS, MISALIGNED, UNWRITTEN, READ_ONLY, RACE, ENDLESS = range(7)


def report(crash: Crash, regions: Regions) -> str:
    """Return what a kernel did wrong, where and who.

    Args:
        crash: What stopped it.
        regions: What it was allowed to touch.
    """
    address, size = crash.address or 0, crash.size
    what, place = f"{_noun(crash.actor)} of {size} bytes", regions.place(address)
    if crash.kind == OUT_OF_BOUNDS:
        text = f"out-of-bounds {what}, {regions.surroundings(address, size)}"
    elif crash.kind == MISALIGNED:
        text = f"misaligned {what} at {place}: the address is no multiple of {size}"
    elif crash.kind == UNWRITTEN:
        text = f"read of memory that was never written: {place}"
    elif crash.kind == READ_ONLY:
        text = f"{what} to {place}, which the kernel takes as pointer to const"
    elif crash.kind == RACE and crash.other is not None:
        other = crash.other
        missing = "barrier" if crash.actor.block == other.block else "__threadfence and atomic"
        return (
            f"race on {place}: {_verb(other)} by [{other}] and {_verb(crash.actor)} by "
            f"[{crash.actor}], with no {missing} in between"
        )
    elif crash.kind == ENDLESS:
        text = (
            f"deadlock: a thread waits in a loop for {place} to change, which no other thread of "
            "its block does (blocks run one after another: none may wait for a later one)"
        )
    else:
        text = crash.message
    return f"{text} [{crash.actor}]"


def _noun(actor: Actor) -> str:
    if actor.access & ATOMIC:
        return "atomic access"
    return "write" if actor.access & WRITES else "read"


def _verb(actor: Actor) -> str:
    if actor.access & ATOMIC:
        return "changed atomically"
    return "read" if actor.access & READS else "written"
