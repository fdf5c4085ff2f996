"""Fashion-MNIST: 60,000 + 10,000 pictures of clothes of 28 x 28.

Xiao, Rasul and Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
algorithms", arXiv:1708.07747, 2017; MIT licence.
"""

from __future__ import annotations

import os

from gpunet.datasets import idx

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def load_data(path: str | os.PathLike[str] | None = None) -> idx.Split:
    """Load Fashion-MNIST from files on this machine; nothing is downloaded.

    Args:
        path: a folder with the four IDX files (plain or .gz); without one
            ``$GPUNET_DATA/fashion-mnist``, ``/usr/share/datasets/fashion-mnist`` (Debian's and
            Ubuntu's package ``dataset-fashion-mnist``) and ``~/.keras/datasets`` are searched.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: images (n, 28, 28) of 0 to 255 and labels (n,) of
        0 to 9 (see ``CLASS_NAMES``), all uint8.

    Raises:
        DataUnavailable: there are no such files; the message says how to get them.
        ArgumentError: a file is malformed.

    Example:
        >>> (x_train, y_train), (x_test, y_test) = load_data()  # doctest: +SKIP
    """
    hint = "run apt-get install dataset-fashion-mnist, or "
    return idx.load("fashion-mnist", "Fashion-MNIST", path, hint)
