"""MNIST: 60,000 + 10,000 handwritten digits of 28 x 28 (LeCun, Cortes and Burges)."""

from __future__ import annotations

import os

from gpunet.datasets import idx


def load_data(path: str | os.PathLike[str] | None = None) -> idx.Split:
    """Load MNIST from files on this machine; nothing is downloaded.

    Args:
        path: a folder with the four IDX files (plain or .gz), or Keras' ``mnist.npz``; without one
            ``$GPUNET_DATA/mnist``, ``/usr/share/datasets/mnist`` and ``~/.keras/datasets`` are
            searched.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: images (n, 28, 28) of 0 to 255 and labels (n,) of
        0 to 9, all uint8.

    Raises:
        DataUnavailable: there are no such files; the message says how to get them.
        ArgumentError: a file is malformed.

    Example:
        >>> (x_train, y_train), (x_test, y_test) = load_data()  # doctest: +SKIP
    """
    return idx.load("mnist", "MNIST", path, "")
