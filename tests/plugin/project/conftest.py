"""Imports CuPy before any test, as conftest.py files do."""

import cupy as cp
import pytest


@pytest.fixture
def x():
    return cp.arange(256, dtype=cp.float32)
