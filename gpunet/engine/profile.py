"""profile(): how long each op of a training step takes, and how that compares with its work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from gpunet.arguments import check_count
from gpunet.engine.cost import flops, least_bytes
from gpunet.engine.recorder import Record
from gpunet.engine.replay import Replay, unchanged

if TYPE_CHECKING:
    from gpunet.models import Model

WARM_UP = 2
"""Steps before the clock starts: kernels compile, memory is touched for the first time."""

_TITLES = ("Layer", "Op", "Direction", "Calls", "ms", "Share", "FLOPs", "GFLOP/s", "Bytes", "GB/s")


@dataclass(frozen=True)
class ProfileRow:
    """What one op of one layer costs in one training step.

    Attributes:
        layer: the layer that recorded it, or "feed", "loss", "optimizer".
        op: the op.
        direction: "forward", "backward", "feed", "loss" or "update".
        calls: how often it is called in a step.
        milliseconds: its time in a step, the mean over the steps that were measured.
        flops: floating-point operations in a step (`gpunet.engine.cost`).
        bytes: the least bytes that it must move in a step.
    """

    layer: str
    op: str
    direction: str
    calls: int
    milliseconds: float
    flops: int
    bytes: int


@dataclass(frozen=True)
class Profile:
    """The times of the ops of a training step; print it.

    Attributes:
        rows: one for each op of each layer, the slowest first.
        title: what was measured, and where.
    """

    rows: tuple[ProfileRow, ...]
    title: str

    @property
    def milliseconds(self) -> float:
        """The time of all ops of one step."""
        return sum(row.milliseconds for row in self.rows)

    def __str__(self) -> str:
        total = self.milliseconds
        lines = [list(_TITLES), *(_cells(row, total) for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(_TITLES))]
        table = [
            "  ".join(
                cell.ljust(width) if i < 3 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join([self.title, *table, f"All ops of one step: {total:.3f} ms"])


def _cells(row: ProfileRow, total: float) -> list[str]:
    seconds = row.milliseconds / 1000
    return [
        row.layer,
        row.op,
        row.direction,
        str(row.calls),
        f"{row.milliseconds:.4f}",
        f"{row.milliseconds / total:.1%}" if total else "-",
        f"{row.flops:,}",
        f"{row.flops / seconds / 1e9:.2f}" if seconds else "-",
        f"{row.bytes:,}",
        f"{row.bytes / seconds / 1e9:.2f}" if seconds else "-",
    ]


def profile(model: Model, x: Any, y: Any, steps: int) -> Profile:
    """Time each op of a training step; see `gpunet.models.Model.profile`."""
    steps = check_count("profile", "steps", steps)
    model.ensure_built(x)
    with unchanged(model, "profile"):
        replay = Replay(model, x, y)
        backend = replay.backend
        seconds = [0.0] * len(replay.calls)
        for step in range(WARM_UP + steps):
            for i, call in enumerate(replay.calls):
                backend.synchronize()
                start = perf_counter()
                call()
                backend.synchronize()
                if step >= WARM_UP:
                    seconds[i] += perf_counter() - start
    title = f"{model.name}, one training step on {backend.name} ({backend.description})"
    title += f", mean of {steps} steps, each op with the device idle before it"
    if backend.name == "emulator":
        title += "\nThese are times of the emulator, which say nothing of a GPU."
    return Profile(tuple(_rows(replay.records, [s * 1000 / steps for s in seconds])), title)


def _rows(records: Sequence[Record], milliseconds: Sequence[float]) -> list[ProfileRow]:
    """One row for each (layer, op, direction), the slowest first."""
    groups: dict[tuple[str, str, str], list[tuple[Record, float]]] = {}
    for record, time in zip(records, milliseconds, strict=True):
        key = (record.layer, record.op.name, record.direction)
        groups.setdefault(key, []).append((record, time))
    rows = [
        ProfileRow(
            *key,
            calls=len(group),
            milliseconds=sum(time for _, time in group),
            flops=sum(flops(record) for record, _ in group),
            bytes=sum(least_bytes(record) for record, _ in group),
        )
        for key, group in groups.items()
    ]
    return sorted(rows, key=lambda row: -row.milliseconds)
