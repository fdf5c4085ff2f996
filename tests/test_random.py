import doctest
import subprocess
import sys

import numpy as np
import pytest

import gpunet.identifiers
import gpunet.random as random
import gpunet.utils
from gpunet.errors import ArgumentError


@pytest.mark.parametrize("module", [random, gpunet.utils, gpunet.identifiers])
def test_examples(module):
    assert doctest.testmod(module).failed == 0


def test_streams_are_philox_with_the_documented_keys():
    random.set_seed(7)
    for k in (1, 2):
        expected = np.random.Generator(np.random.Philox(key=np.array([7, k], np.uint64)))
        np.testing.assert_array_equal(random.next_stream().random(5), expected.random(5))


def test_numbers_stay_the_same_for_ever():
    random.set_seed(1)
    words = random.next_stream().bit_generator.random_raw(2).tolist()
    assert words == [1386294051110952485, 18147817048375502686]


def test_set_seed_starts_anew_and_streams_differ():
    random.set_seed(3)
    first, second = random.next_stream().random(4), random.next_stream().random(4)
    assert not np.array_equal(first, second)
    random.set_seed(3)
    np.testing.assert_array_equal(first, random.next_stream().random(4))
    random.set_seed(4)
    assert not np.array_equal(first, random.next_stream().random(4))


def test_seeded_stream_ignores_the_process_seed_and_takes_no_stream():
    random.set_seed(3)
    own = random.seeded_stream(3).random(4)
    first = random.next_stream().random(4)
    assert not np.array_equal(own, first)
    random.set_seed(5)
    np.testing.assert_array_equal(own, random.seeded_stream(3).random(4))


def test_without_a_seed_each_process_draws_one_and_keeps_it():
    code = (
        "import gpunet.random as r; a = r.seed(); r.next_stream(); assert a == r.seed(); print(a)"
    )
    seeds = {subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
             for _ in range(2)}  # fmt: skip
    assert len(seeds) == 2
    assert all(0 <= int(seed) < 2**32 for seed in seeds)


@pytest.mark.parametrize("seed", [0, 1, np.int64(5), 2**64 - 1, True])
def test_seeds_that_work(seed):
    random.set_seed(seed)
    assert random.seed() == int(seed)
    random.next_stream()


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, "1", None, np.array([1, 2])])
def test_seeds_that_do_not(seed):
    with pytest.raises(
        ArgumentError, match=r"^A seed must be an integer from 0 to 2\*\*64 - 1, got"
    ):
        random.set_seed(seed)
