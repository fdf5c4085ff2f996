"""Every example in a docstring of gpunet runs and prints what it says."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import gpunet

MODULES = [
    pytest.param(name, marks=[pytest.mark.numba] if ".compiled" in name else [], id=name)
    for _, name, _ in pkgutil.walk_packages(gpunet.__path__, "gpunet.")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name):
    module = importlib.import_module(name)
    gpunet.set_backend("numpy")
    result = doctest.testmod(module, extraglobs={"np": np})
    assert result.failed == 0
