"""The emulator's CuPy and its stand-in for cuBLAS."""

import numpy as np
import pytest

from gpunet.backend.cuda import CudaBackend
from gpunet.backend.cuda.cublas import Cublas


@pytest.fixture(scope="module")
def cp():
    from gpunet.emulator import cupy

    return cupy


@pytest.fixture(scope="module")
def library():
    from gpunet.emulator.cublas import load_cublas

    return load_cublas()


@pytest.fixture
def backend(cp, library, tmp_path, monkeypatch):
    """An emulator whose products may go to the stand-in."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return CudaBackend(cp, "emulator", lambda: library)


@pytest.fixture
def handle(cp, library):
    return Cublas(cp, library)


@pytest.fixture(scope="module")
def factors():
    """A function that makes a, b and, in float64, op(a) op(b)."""

    def made(m, n, k, ta=False, tb=False, stack=(), dtype=np.float32):
        random = np.random.default_rng(0)
        a = random.standard_normal((*stack, *((k, m) if ta else (m, k)))).astype(dtype)
        b = random.standard_normal((*stack, *((n, k) if tb else (k, n)))).astype(dtype)
        a64, b64 = a.astype(np.float64), b.astype(np.float64)
        wanted = (a64.swapaxes(-1, -2) if ta else a64) @ (b64.swapaxes(-1, -2) if tb else b64)
        return a, b, wanted

    return made
