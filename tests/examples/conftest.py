"""The examples as modules, without running them."""

import importlib.util
import sys
from pathlib import Path

import pytest

import gpunet

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch):
    """A function that imports an example by its name, in its full form."""
    monkeypatch.delenv("GPUNET_EXAMPLE_SHORT", raising=False)
    gpunet.set_backend("numpy")
    gpunet.utils.set_random_seed(1)

    def load(name):
        spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return load
