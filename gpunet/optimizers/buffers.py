"""What the update of one span of weights works on."""

from __future__ import annotations

from dataclasses import dataclass

from gpunet.engine.recorder import Buffer


@dataclass
class UpdateBuffers:
    """What the update of one span works on: the recorder's buffers.

    Attributes:
        weights: the flat weights.
        slots: the optimizer's buffers of the same size, by name.
        step: the counter of finished steps.
        gradients: the flat gradients.
        segments: the table of weights.
        norms: squared norms to clip by, or None.
        hyper: learning rate, weight decay, clip, and the optimizer's own numbers.
        averages: the hyper-parameters of the moving average.
        tick: whether the op counts the step.
    """

    weights: Buffer
    slots: dict[str, Buffer]
    step: Buffer
    gradients: Buffer
    segments: Buffer
    norms: Buffer | None
    hyper: Buffer
    averages: Buffer
    tick: bool = False
