"""Which hyper-parameters make sense, and what is said of those that do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpunet.arguments import ABOVE_0, AT_LEAST_0, FROM_0_TO_1, is_integer
from gpunet.errors import ArgumentError

if TYPE_CHECKING:
    from gpunet.optimizers.base import Optimizer


def check_common(optimizer: Optimizer) -> None:
    """Raise an ArgumentError if an argument that all optimizers have makes no sense."""
    kind = type(optimizer).__name__
    given = [n for n in ("clipnorm", "clipvalue", "global_clipnorm") if _value(optimizer, n)]
    if len(given) > 1:
        raise ArgumentError(f"{kind} takes only one of {' and '.join(given)}, got both.")
    for name in given:
        ABOVE_0.check(optimizer, name, getattr(optimizer, name), " or None")
    if optimizer.weight_decay is not None:
        AT_LEAST_0.check(optimizer, "weight_decay", optimizer.weight_decay, " or None")
    FROM_0_TO_1.check(optimizer, "ema_momentum", optimizer.ema_momentum)
    if optimizer.loss_scale_factor is not None:
        raise ArgumentError(
            f"{kind} takes no loss_scale_factor, got {optimizer.loss_scale_factor!r}: gradients "
            "are float32 and need none; leave it out."
        )
    for name, least in (("ema_overwrite_frequency", 1), ("gradient_accumulation_steps", 2)):
        value = getattr(optimizer, name)
        if value is not None and (not is_integer(value) or value < least):
            raise ArgumentError(
                f"{kind} takes an integer of at least {least} or None for {name}, got {value!r}."
            )


def _value(optimizer: Optimizer, name: str) -> bool:
    return getattr(optimizer, name) is not None
