"""Fixtures for what may depend on the number of threads."""

import pytest

from gpunet.backend.cpu.threads import blas


@pytest.fixture
def count(monkeypatch):
    """Choose how many threads an op may have, whatever the machine has."""

    def choose(number):
        monkeypatch.setattr(blas(), "_tell", lambda: number)
        monkeypatch.setattr(blas(), "_choose", lambda one: None)

    return choose
