"""summary(): layers, shapes, weights, memory, FLOPs, and what is fused."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpunet.models import Model


def print_summary(model: Model, batch_size: int, print_fn: Callable[[str], Any]) -> None:
    """Print what `gpunet.models.Model.summary` promises."""
