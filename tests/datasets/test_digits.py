import doctest
import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from gpunet.datasets import digits
from gpunet.errors import ArgumentError


def test_examples():
    assert doctest.testmod(digits).failed == 0


def test_shapes_and_values():
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    assert x_train.shape == (1437, 8, 8)
    assert y_train.shape == (1437,)
    assert x_test.shape == (360, 8, 8)
    assert y_test.shape == (360,)
    assert {array.dtype for array in (x_train, y_train, x_test, y_test)} == {np.dtype("uint8")}
    assert x_train.max() == 16
    assert np.bincount(y_train).min() > 120
    assert np.bincount(y_test).min() > 20
    assert x_train.flags.writeable


def test_the_split_is_a_partition_that_the_seed_decides():
    def rows(split):
        (x_train, y_train), (x_test, y_test) = split
        images = np.concatenate([x_train, x_test]).reshape(-1, 64)
        return np.column_stack([images, np.concatenate([y_train, y_test])])

    first, again, other = (rows(digits.load_data(seed=seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(np.unique(first, axis=0), np.unique(other, axis=0))
    small = rows(digits.load_data(test_size=10))
    np.testing.assert_array_equal(np.unique(small, axis=0), np.unique(first, axis=0))


def test_the_default_split_stays_the_same_for_ever():
    (x_train, _), (_, y_test) = digits.load_data()
    assert y_test[:10].tolist() == [1, 7, 9, 0, 8, 5, 7, 7, 7, 0]
    assert hashlib.sha256(x_train).hexdigest()[:16] == "1f1d1b34715ee4ed"


def test_the_numbers_are_the_original_ones():
    sklearn = pytest.importorskip("sklearn")
    file = Path(sklearn.__file__).parent / "datasets" / "data" / "digits.csv.gz"
    with gzip.open(file) as lines:
        table = np.loadtxt(lines, delimiter=",")
    with np.load(Path(digits.__file__).with_name("digits.npz")) as arrays:
        np.testing.assert_array_equal(arrays["images"].reshape(-1, 64), table[:, :-1])
        np.testing.assert_array_equal(arrays["labels"], table[:, -1])


def test_a_nearest_neighbour_recognises_them():
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    train, test = (x.reshape(-1, 64).astype(np.float32) for x in (x_train, x_test))
    distances = (train**2).sum(1) - 2 * test @ train.T
    assert (y_train[distances.argmin(1)] == y_test).mean() > 0.97


@pytest.mark.parametrize("size", [0, -1, 1797, 0.2, "360", None])
def test_wrong_test_size(size):
    with pytest.raises(ArgumentError, match="from 1 to 1796, got"):
        digits.load_data(test_size=size)


def test_wrong_seed():
    with pytest.raises(ArgumentError, match="A seed must be an integer"):
        digits.load_data(seed=-1)


def test_credit_is_given():
    credit = Path(digits.__file__).with_name("CREDITS").read_text()
    for text in (credit, digits.__doc__):
        for part in ("E. Alpaydin", "C. Kaynak", "CC BY 4.0", "10.24432/C50P49"):
            assert part in text
