"""Handwritten digits: 1,797 pictures of 8 x 8, shipped with gpunet.

The test part of "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak, UCI
Machine Learning Repository, 1998, https://doi.org/10.24432/C50P49, under the licence CC BY 4.0
(https://creativecommons.org/licenses/by/4.0/). Only the file format was changed: see CREDITS.
"""

from __future__ import annotations

import operator
from pathlib import Path

import numpy as np

from gpunet import random
from gpunet.datasets.idx import Split
from gpunet.errors import ArgumentError

_FILE = Path(__file__).with_name("digits.npz")


def load_data(test_size: int = 360, seed: int = 0) -> Split:
    """Load the digits, split at random into training and test images.

    Args:
        test_size: how many of the 1,797 images are for testing.
        seed: another seed gives another split; the same seed always gives the same one.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: images (n, 8, 8) of 0 (paper) to 16 (ink) and
        labels (n,) of 0 to 9, all uint8.

    Raises:
        ArgumentError: ``test_size`` is no integer from 1 to 1,796, or the seed is none.

    Example:
        >>> (x_train, y_train), (x_test, y_test) = load_data()
        >>> x_train.shape, y_test.shape, int(x_train.max())
        ((1437, 8, 8), (360,), 16)
    """
    with np.load(_FILE, allow_pickle=False) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    try:
        size = operator.index(test_size)
    except TypeError:
        size = 0
    if not 0 < size < len(images):
        raise ArgumentError(
            f"test_size must be a number of images from 1 to {len(images) - 1}, got {test_size!r}."
        )
    order = random.seeded_stream(seed).permutation(len(images))
    test, train = order[:size], order[size:]
    return (images[train], labels[train]), (images[test], labels[test])
