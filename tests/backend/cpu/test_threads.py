"""Work that is dealt to threads, and the threads of NumPy's BLAS meanwhile."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from gpunet import Sequential, layers
from gpunet.backend import get_backend
from gpunet.backend.cpu import CpuBackend
from gpunet.backend.cpu.threads import Blas, blas, in_threads


@pytest.mark.parametrize("threads", [1, 2, 3, 40])
@pytest.mark.parametrize("pieces", [0, 1, 2, 100])
def test_each_piece_is_done_once(threads, pieces):
    done = []
    in_threads(lambda thread, numbers: done.extend(numbers), pieces, threads)
    assert sorted(done) == list(range(pieces))


def test_threads_have_numbers_and_work_at_the_same_time():
    both = threading.Barrier(3, timeout=60)
    found = []

    def work(thread, numbers):
        for _ in numbers:
            both.wait()
            found.append(thread)

    in_threads(work, 3, 3)
    assert sorted(found) == [0, 1, 2]


@pytest.mark.parametrize("guilty", [0, 1])
def test_an_error_in_a_thread_is_raised_after_all_have_finished(guilty):
    both = threading.Barrier(2, timeout=60)
    finished = []

    def work(thread, numbers):
        next(numbers)
        both.wait()
        if thread == guilty:
            raise ValueError("in a thread")
        finished.append(thread)

    with pytest.raises(ValueError, match="in a thread"):
        in_threads(work, 2, 2)
    assert finished == [1 - guilty]


def test_what_numpy_shall_do_about_overflow_holds_in_all_threads():
    both = threading.Barrier(2, timeout=60)

    def work(thread, numbers):
        for _ in numbers:
            both.wait()
            np.exp(np.full(3, 1e3, np.float32))

    with np.errstate(over="ignore"):
        in_threads(work, 2, 2)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        in_threads(work, 2, 2)


def test_work_within_work_does_not_wait_for_itself():
    done = []

    def inner(thread, numbers):
        done.extend(numbers)

    in_threads(lambda thread, numbers: [in_threads(inner, 5, 2) for _ in numbers], 8, 2)
    assert sorted(done) == sorted([*range(5)] * 8)


def test_blas_has_one_thread_until_the_last_op_has_finished():
    threads = [4]
    pool = Blas(lambda: threads[0], lambda number: threads.__setitem__(0, number))
    with pool as first:
        with pool as second:
            assert (first, second, threads) == (4, 1, [1])
        assert threads == [1]
    assert threads == [4]
    with pytest.raises(ValueError, match="any"), pool:
        raise ValueError("any")
    assert threads == [4]


def test_while_blas_is_held_one_op_at_a_time_has_all_threads():
    threads = [4]
    pool = Blas(lambda: threads[0], lambda number: threads.__setitem__(0, number))
    assert not pool.is_held
    with pool.held():
        for _ in range(2):
            with pool as first, pool as second:
                assert (first, second, threads) == (4, 1, [1])
        assert pool.is_held
        assert threads == [1]
    assert threads == [4]
    with pytest.raises(ValueError, match="any"), pool.held():
        raise ValueError("any")
    assert threads == [4]


@pytest.mark.parametrize("layer", ["Dense", "Conv1D"])
def test_blas_is_held_in_networks_with_convolutions(layer, monkeypatch):
    held = []
    monkeypatch.setitem(
        get_backend().ops, "layer_norm", lambda *_, **options: held.append(blas().is_held)
    )
    model = Sequential([layers.UnitNormalization(input_shape=(4, 2))])
    model.add(layers.Dense(3) if layer == "Dense" else layers.Conv1D(3, 2))
    model.predict(np.ones((2, 4, 2)), verbose=0)
    assert held
    assert set(held) == {layer == "Conv1D"}


@pytest.mark.parametrize(("rows", "columns"), [(1040, 600), (600, 1040)])
@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tb", [False, True])
def test_a_product_that_is_dealt_to_threads_is_the_same(rows, columns, ta, tb, count):
    count(3)
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((rows, 70)), rng.standard_normal((70, columns))
    expected = a @ b
    a, b = (a.T.copy() if ta else a), (b.T.copy() if tb else b)
    c = np.empty((rows, columns))
    call = CpuBackend().bind("gemm", c, a, b, ta=ta, tb=tb)
    with blas().held():
        call()
    np.testing.assert_allclose(c, expected, rtol=1e-12, atol=1e-12)


def test_numpys_own_blas_has_one_thread_meanwhile():
    tell = blas()._tell
    before = tell()
    with blas() as threads:
        assert threads == before
        assert tell() == 1
    assert tell() == before


def test_without_openblas_there_is_one_thread(monkeypatch, tmp_path):
    monkeypatch.setattr("numpy.__file__", str(tmp_path / "numpy" / "__init__.py"))
    blas.cache_clear()
    try:
        with blas() as threads:
            assert threads == 1
    finally:
        blas.cache_clear()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_has_threads_of_its_own():
    code = """if True:
        import os, sys, threading
        from gpunet.backend.cpu.threads import in_threads
        def run():
            both = threading.Barrier(2, timeout=30)
            in_threads(lambda thread, numbers: [both.wait() for _ in numbers], 2, 2)
        run()
        child = os.fork()
        run()
        if child:
            sys.exit(os.waitpid(child, 0)[1])
        os._exit(0)
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_while_python_ends_there_is_one_thread():
    code = """if True:
        import atexit
        from gpunet.backend.cpu.threads import in_threads
        work = lambda thread, numbers: print(thread, *numbers)
        atexit.register(in_threads, work, 3, 2)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True)
    assert done.stdout.split() == [b"0", b"0", b"1", b"2"], done.stderr
