"""Products of a few rows with a matrix that is cut into blocks."""

import numpy as np
import pytest

from gpunet.backend.cpu import small_products
from gpunet.backend.cpu.small_products import bind_product

SHAPES = [
    (32, 256, 1024),
    (32, 1024, 256),
    (33, 256, 1024),
    (64, 2048, 512),
    (8, 16, 64),
    (3, 5, 7),
]


@pytest.mark.parametrize("core", ["SkylakeX", "Haswell"])
@pytest.mark.parametrize("tb", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_products_are_those_of_numpy(shape, tb, core, monkeypatch):
    """Blocks or not: in memory of their own, in the result's rows."""
    monkeypatch.setattr(small_products.blas(), "core", core)
    rows, inner, columns = shape
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((rows, inner)), rng.standard_normal((inner, columns))
    c, memory = np.full((rows, columns), np.nan), np.full(b.shape, np.nan)
    copy, multiply = bind_product(c, a, b.T.copy() if tb else b, memory, tb=tb)
    copy()
    multiply()
    np.testing.assert_allclose(c, a @ b, rtol=1e-10, atol=1e-10)
    a *= 2.0
    multiply()
    np.testing.assert_allclose(c, a @ b, rtol=1e-10, atol=1e-10)
    assert np.sort(memory.ravel()).tolist() == np.sort(b.ravel()).tolist()
