import random as python_random

import numpy as np
import pytest

import gpunet.random
from gpunet.errors import ArgumentError
from gpunet.utils import set_random_seed, to_categorical


def test_set_random_seed_seeds_three_generators():
    def draw():
        set_random_seed(812)
        return python_random.random(), np.random.rand(), gpunet.random.next_stream().random()

    assert draw() == draw()
    assert gpunet.random.seed() == 812


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5, None])
def test_set_random_seed_refuses(seed):
    with pytest.raises(ArgumentError, match=r"from 0 to 2\*\*32 - 1"):
        set_random_seed(seed)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((), (4,)),
        ((1,), (1, 4)),
        ((3,), (3, 4)),
        ((3, 1), (3, 4)),
        ((4, 3), (4, 3, 4)),
        ((5, 4, 3, 1), (5, 4, 3, 4)),
        ((0,), (0, 4)),
    ],
)
def test_to_categorical_shapes_as_in_keras(shape, expected):
    labels = np.random.default_rng(0).integers(0, 4, shape)
    one_hot = to_categorical(labels, 4)
    assert one_hot.shape == expected
    assert one_hot.dtype == np.float64
    np.testing.assert_array_equal(one_hot.argmax(-1).ravel(), np.ravel(labels))
    np.testing.assert_array_equal(one_hot.sum(-1), 1.0)


def test_to_categorical_infers_the_classes():
    np.testing.assert_array_equal(to_categorical([1, 2]), [[0, 1, 0], [0, 0, 1]])
    np.testing.assert_array_equal(to_categorical(np.array([0.0, 1.0])), np.eye(2))
    np.testing.assert_array_equal(to_categorical(["0", "1"]), np.eye(2))
    np.testing.assert_array_equal(to_categorical([True, False]), np.eye(2)[::-1])


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        ([0, -1], None, "got the label -1, expected labels from 0 to 0"),
        ([0, 3], 3, "got the label 3, expected labels from 0 to 2"),
        ([0.5], None, "whole numbers"),
        ([np.nan], None, "whole numbers"),
        ([1e300], None, "whole numbers"),
        (["cat"], None, "needs an array of integers"),
        ([[0], [1, 2]], None, "needs an array of integers"),
        ([], None, "pass num_classes"),
        ([0, 1], 0, "got the label 0"),
    ],
)
def test_to_categorical_errors(labels, classes, message):
    with pytest.raises(ArgumentError, match=message):
        to_categorical(labels, classes)
