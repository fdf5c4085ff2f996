"""The emulator's CuPy and its stand-in for cuBLAS."""

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
