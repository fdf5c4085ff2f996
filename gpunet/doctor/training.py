"""Training on the device: one step against NumPy op by op, then handwritten digits."""

from __future__ import annotations

import numpy as np

from gpunet import Input, Sequential, layers, utils
from gpunet.backend.base import Backend
from gpunet.datasets import digits
from gpunet.doctor.report import Report
from gpunet.optimizers import SGD, Adam
from gpunet.testing import compare

_ACCURACY = {1: 0.8, 3: 0.9}  # of unseen digits after so many epochs; NumPy reaches 0.93 and 0.95
_LOSS_TOLERANCE = 1e-3  # rounding differs between devices, and training amplifies it


def examine_step(report: Report, backend: Backend) -> None:
    """Run one training step on NumPy and on the device, and compare what each op writes."""
    (x, y), _ = digits.load_data()
    model = _network("numpy", convolutional=True)
    # Not Adam, which divides gradients by their size, and so makes much of what rounding leaves.
    model.compile(SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])
    comparison = compare(model, "numpy", backend.name, x[:32], y[:32])
    report.line(str(comparison))
    if not comparison.ok:
        report.failure(f"One training step: {comparison}")


def examine_training(report: Report, backend: Backend, epochs: int) -> None:
    """Train on digits, twice on the device and once with NumPy, from the same seed."""
    (x, y), test = digits.load_data()
    models, losses = [], []
    for name in ("numpy", backend.name, backend.name):
        model = _network(name)
        history = model.fit(x, y, batch_size=32, epochs=epochs, verbose=0).history
        models.append(model)
        losses.append(np.array(history["loss"]))
    report.line(f"{'epoch':<8}{'loss':>10}{'with NumPy':>14}")
    for epoch, (numpy_loss, loss) in enumerate(zip(*losses[:2], strict=True), 1):
        report.line(f"{epoch:<8}{loss:>10.5f}{numpy_loss:>14.5f}")
    worst = float(np.max(np.abs(losses[1] / losses[0] - 1)))
    if not worst <= _LOSS_TOLERANCE:
        report.failure(
            f"Training on digits, the losses on {backend.name} and on NumPy differ by up to "
            f"{worst:.1e} of their value, where {_LOSS_TOLERANCE:.0e} is allowed."
        )
    _same_bits(report, backend, models[1], models[2])
    accuracy = models[1].evaluate(*test, verbose=0)[1]
    report.line(f"{accuracy:.1%} of {len(test[1])} unseen digits are read correctly")
    if not accuracy >= _ACCURACY[epochs]:
        report.failure(
            f"Trained on {backend.name} for {epochs} epochs, the network reads only {accuracy:.1%} "
            f"of unseen digits, expected {_ACCURACY[epochs]:.0%}."
        )


def _same_bits(report: Report, backend: Backend, first: Sequential, second: Sequential) -> None:
    pairs = zip(first.get_weights(), second.get_weights(), strict=True)
    if all(a.tobytes() == b.tobytes() for a, b in pairs):
        report.line("trained again from the same seed: the same weights, bit for bit")
    else:
        report.line("trained again from the same seed: OTHER weights")
        report.failure(f"The same training on {backend.name} gave other weights the second time.")


def _network(backend: str, *, convolutional: bool = False) -> Sequential:
    """A small compiled network for the digits on a backend; always with the same weights."""
    utils.set_random_seed(1)
    images = [
        layers.Reshape((8, 8, 1)),
        layers.Conv2D(8, 3, padding="same"),
        layers.BatchNormalization(),
        layers.Activation("relu"),
        layers.MaxPooling2D(),
    ]
    model = Sequential(
        [
            Input((8, 8)),
            layers.Rescaling(1 / 16),
            *(images if convolutional else []),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.to(backend)
    return model
