import doctest

import numpy as np
import pytest

import gpunet.initializers as initializers
from gpunet import random
from gpunet.errors import ArgumentError, ShapeError
from gpunet.initializers import compute_fans, get, serialize

SHAPE = (200, 300)
RANDOM = [
    initializers.RandomNormal,
    initializers.TruncatedNormal,
    initializers.RandomUniform,
    initializers.VarianceScaling,
    initializers.GlorotUniform,
    initializers.GlorotNormal,
    initializers.HeUniform,
    initializers.HeNormal,
    initializers.LecunUniform,
    initializers.LecunNormal,
    initializers.Orthogonal,
]
CONSTANT = [
    initializers.Zeros,
    initializers.Ones,
    initializers.Constant,
    initializers.Identity,
]


def test_examples():
    assert doctest.testmod(initializers).failed == 0


@pytest.mark.parametrize("cls", RANDOM + CONSTANT)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("shape", [(), (0,), (5,), (0, 3), (4, 6), (6, 4), (3, 3, 2, 4)])
def test_shape_and_dtype(cls, dtype, shape):
    if cls is initializers.Orthogonal and len(shape) < 2:
        pytest.skip("matrices only")
    if cls is initializers.Identity and len(shape) != 2:
        pytest.skip("matrices only")
    values = cls()(shape, dtype)
    assert isinstance(values, np.ndarray)
    assert values.shape == shape
    assert values.dtype == dtype
    assert values.flags.c_contiguous
    assert values.flags.writeable
    assert np.isfinite(values).all()


@pytest.mark.parametrize("cls", RANDOM)
def test_seeds(cls):
    same = cls(seed=5)(SHAPE)
    np.testing.assert_array_equal(same, cls(seed=5)(SHAPE))
    assert not np.array_equal(same, cls(seed=6)(SHAPE))
    random.set_seed(1)
    unseeded = cls()
    first, second = unseeded(SHAPE), unseeded(SHAPE)
    assert not np.array_equal(first, second)
    random.set_seed(1)
    np.testing.assert_array_equal(first, cls()(SHAPE))


@pytest.mark.parametrize("cls", RANDOM)
def test_float64_starts_from_the_same_weights(cls):
    np.testing.assert_array_equal(
        cls(seed=5)(SHAPE, "float64"), cls(seed=5)(SHAPE).astype(np.float64)
    )


def test_numbers_stay_the_same_for_ever():
    np.testing.assert_array_equal(
        initializers.RandomUniform(0, 1, seed=1)((3,)),
        [0.08333605527877808, 0.44160228967666626, 0.2895691394805908],
    )
    np.testing.assert_array_equal(
        initializers.RandomNormal(0, 1, seed=1)((3,)),
        [-0.09740976989269257, -0.7392171025276184, 0.7073379158973694],
    )


@pytest.mark.parametrize(
    ("initializer", "mean", "stddev", "limit"),
    [
        (initializers.RandomNormal(seed=1), 0, 0.05, None),
        (initializers.RandomNormal(2.0, 3.0, seed=1), 2, 3.0, None),
        (initializers.TruncatedNormal(1.0, 0.5, seed=1), 1, 0.5 * 0.8796256610342398, 1.0),
        (initializers.RandomUniform(seed=1), 0, 0.1 / 12**0.5, 0.05),
        (initializers.RandomUniform(1.0, 3.0, seed=1), 2, 2 / 12**0.5, 1.0),
        (initializers.GlorotUniform(seed=1), 0, (2 / 500) ** 0.5, (6 / 500) ** 0.5),
        (initializers.GlorotNormal(seed=1), 0, (2 / 500) ** 0.5, 2.2739 * (2 / 500) ** 0.5),
        (initializers.HeUniform(seed=1), 0, (2 / 200) ** 0.5, (6 / 200) ** 0.5),
        (initializers.HeNormal(seed=1), 0, (2 / 200) ** 0.5, 2.2739 * (2 / 200) ** 0.5),
        (initializers.LecunUniform(seed=1), 0, (1 / 200) ** 0.5, (3 / 200) ** 0.5),
        (initializers.LecunNormal(seed=1), 0, (1 / 200) ** 0.5, 2.2739 * (1 / 200) ** 0.5),
        (initializers.VarianceScaling(3, "fan_out", "uniform", 1), 0, 0.1, 0.1 * 3**0.5),
        (initializers.VarianceScaling(3, "fan_out", "untruncated_normal", 1), 0, 0.1, None),
        (initializers.VarianceScaling(3, "fan_out", "normal", 1), 0, 0.1, 0.22739),
    ],
    ids=repr,
)
def test_statistics_and_bounds(initializer, mean, stddev, limit):
    values = initializer(SHAPE, "float64")
    count = values.size
    assert abs(values.mean() - mean) < 5 * stddev / count**0.5
    assert abs(values.std() / stddev - 1) < 5 / (2 * count) ** 0.5
    farthest = np.abs(values - mean).max()
    if limit is None:
        assert farthest > 3.5 * stddev
    else:
        assert 0.99 * limit < farthest <= limit * (1 + 1e-5)


def test_uniform_excludes_its_upper_end():
    values = initializers.RandomUniform(0.0, 1.0, seed=3)((1 << 20,))
    assert values.min() >= 0.0
    assert values.max() < 1.0


@pytest.mark.parametrize(
    ("shape", "fans"),
    [((), (1, 1)), ((5,), (5, 5)), ((3, 4), (3, 4)), ((5, 3, 4), (15, 20)),
     ((3, 3, 16, 32), (144, 288)), ((2, 2, 2, 3, 5), (24, 40))],
)  # fmt: skip
def test_fans(shape, fans):
    assert compute_fans(shape) == fans


def test_convolution_kernels_use_their_receptive_field():
    values = initializers.HeUniform(seed=1)((3, 3, 16, 32))
    assert 0.99 * (6 / 144) ** 0.5 < np.abs(values).max() <= (6 / 144) ** 0.5


def test_constants():
    np.testing.assert_array_equal(initializers.Zeros()((2, 3)), np.zeros((2, 3)))
    np.testing.assert_array_equal(initializers.Ones()((2,)), [1, 1])
    np.testing.assert_array_equal(initializers.Constant(-2.5)((2,)), [-2.5, -2.5])
    np.testing.assert_array_equal(initializers.Identity(2.0)((2, 3)), [[2, 0, 0], [0, 2, 0]])


@pytest.mark.parametrize("shape", [(6, 6), (20, 7), (7, 20), (3, 3, 2, 5)])
def test_orthogonal(shape):
    q = initializers.Orthogonal(gain=2.0, seed=1)(shape, "float64").reshape(-1, shape[-1]) / 2
    gram = q.T @ q if len(q) >= q.shape[1] else q @ q.T
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-6)


def test_orthogonal_is_uniform_in_its_signs():
    stacked = [initializers.Orthogonal(seed=seed)((3, 3)) for seed in range(400)]
    assert np.abs(np.mean(stacked, axis=0)).max() < 5 / (3 * 400) ** 0.5


@pytest.mark.parametrize(
    ("identifier", "cls"),
    [
        ("zeros", initializers.Zeros),
        ("zero", initializers.Zeros),
        ("ones", initializers.Ones),
        ("glorot_uniform", initializers.GlorotUniform),
        ("GlorotUniform", initializers.GlorotUniform),
        ("he_normal", initializers.HeNormal),
        ("normal", initializers.RandomNormal),
        ("uniform", initializers.RandomUniform),
        ("orthogonal", initializers.Orthogonal),
        ("variance_scaling", initializers.VarianceScaling),
        (initializers.LecunNormal, initializers.LecunNormal),
        ({"class_name": "Ones", "config": {}}, initializers.Ones),
        ({"module": "keras.initializers", "class_name": "HeUniform", "config": {"seed": 3},
          "registered_name": None}, initializers.HeUniform),
    ],
)  # fmt: skip
def test_get(identifier, cls):
    assert type(get(identifier)) is cls


def test_get_passes_instances_and_functions_on():
    instance = initializers.Constant(3)
    assert get(instance) is instance
    assert get(make_threes) is make_threes


def make_threes(shape, dtype="float32"):
    return np.full(shape, 3, dtype)


@pytest.mark.parametrize(
    "initializer",
    [
        initializers.Zeros(),
        initializers.Constant(2.0),
        initializers.Identity(3.0),
        initializers.RandomNormal(1.0, 2.0, 3),
        initializers.TruncatedNormal(1.0, 2.0, 3),
        initializers.RandomUniform(1.0, 2.0, 3),
        initializers.VarianceScaling(2.0, "fan_avg", "uniform", 3),
        initializers.GlorotNormal(7),
        initializers.Orthogonal(2.0, 3),
    ],
    ids=repr,
)
def test_config_round_trip(initializer):
    again = get(serialize(initializer))
    assert type(again) is type(initializer)
    assert again.get_config() == initializer.get_config()
    np.testing.assert_array_equal(again((4, 4)), initializer((4, 4)))


def test_preset_config_is_keras():
    assert initializers.GlorotUniform(3).get_config() == {"seed": 3}
    assert repr(initializers.GlorotUniform(3)) == "GlorotUniform(seed=3)"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: get("glorot"), "Unknown initializer 'glorot'"),
        (lambda: get(None), "must be a name such as"),
        (lambda: get(3), "must be a name such as"),
        (lambda: get(int), "must be a name such as"),
        (lambda: get({"config": {}}), "needs 'class_name' and 'config'"),
        (lambda: get({"class_name": "Ones", "config": 3}), "needs 'class_name' and 'config'"),
        (lambda: get({"class_name": "Ones", "config": {"gain": 3}}), "config of Ones does not fit"),
        (lambda: initializers.VarianceScaling(0.0), "positive scale, got 0.0"),
        (lambda: initializers.VarianceScaling(1.0, "fan_ni"), "did you mean 'fan_in'"),
        (lambda: initializers.VarianceScaling(1.0, "fan_in", "cauchy"), "Unknown distribution"),
        (lambda: initializers.RandomNormal(0.0, -1.0), "stddev of at least 0"),
        (lambda: initializers.RandomNormal(0.0, np.nan), "stddev of at least 0"),
        (lambda: initializers.RandomUniform(1.0, 0.0), "minval up to maxval"),
        (lambda: initializers.HeNormal(seed=-1), "A seed must be"),
        (lambda: initializers.HeNormal(seed=1.5), "A seed must be"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


@pytest.mark.parametrize(
    ("initializer", "shape"),
    [
        (initializers.Identity(), (3,)),
        (initializers.Orthogonal(), (3,)),
        (initializers.Zeros(), (-1,)),
        (initializers.HeNormal(), (3, -1)),
    ],
)
def test_shapes_that_do_not_work(initializer, shape):
    with pytest.raises(ShapeError, match="got the shape"):
        initializer(shape)


def test_the_base_class_says_what_to_write():
    class Mine(initializers.Initializer):
        pass

    with pytest.raises(NotImplementedError, match="Mine must define __call__"):
        Mine()((2,))
