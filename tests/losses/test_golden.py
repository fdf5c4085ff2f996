"""Values and gradients against Keras' own (tests/golden/make_losses.py says how they were made)."""

import functools
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from gpunet import losses

GOLDEN = Path(__file__).parents[1] / "golden"


def table():
    spec = importlib.util.spec_from_file_location("make_losses", GOLDEN / "make_losses.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.CALLS, module.EDGES


CALLS, EDGES = table()


@functools.cache
def golden():
    with np.load(GOLDEN / "losses.npz") as file:
        stored = {name: file[name] for name in file.files}
    sizes = [stored[f"input.{y_pred}"].size for _, _, _, y_pred, _ in CALLS]
    stored["gradients"] = np.split(stored["gradients"], np.cumsum(sizes)[:-1])
    return stored


def title(call):
    name, arguments, y_true, y_pred, weights = call
    return "-".join([name, *map(str, arguments.values()), y_true, y_pred, weights or ""])


def inputs(call, dtype):
    _, _, y_true, y_pred, weights = call
    stored = golden()
    weight = None if weights is None else stored[f"input.{weights}"]
    return stored[f"input.{y_true}"], stored[f"input.{y_pred}"].astype(dtype), weight


def close(actual, wanted, dtype):
    # The percentage error of a label near 0 is large, its float32 rounding with it.
    tolerance = 1e-10 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(actual, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("number", range(len(CALLS)), ids=map(title, CALLS))
def test_value_and_gradient(number, dtype):
    call = CALLS[number]
    loss = getattr(losses, call[0])(**call[1])
    y_true, y_pred, weight = inputs(call, dtype)
    value = loss(y_true, y_pred, weight)
    gradient = loss.gradient(y_true, y_pred, weight)
    assert type(value) is float
    assert gradient.dtype == dtype
    close(value, golden()["values"][number], dtype)
    close(gradient.ravel(), golden()["gradients"][number], dtype)


@pytest.mark.parametrize("number", range(len(EDGES)), ids=[name for name, _ in EDGES])
def test_ends_of_the_range(number):
    """Probabilities and labels of 0 and 1, and vectors of nearly nothing else."""
    name, arguments = EDGES[number]
    y_true, y_pred = golden()["input.extreme_labels"], golden()["input.extreme"]
    value = getattr(losses, name)(**arguments)(y_true, y_pred)
    np.testing.assert_allclose(value, golden()["edges"][number], rtol=1e-9)


PLAIN = [(n, c) for n, c in enumerate(CALLS) if "reduction" not in c[1] and c[4] is None]


@pytest.mark.parametrize(("number", "call"), PLAIN, ids=[title(c) for _, c in PLAIN])
def test_function_class_and_string_are_one(number, call):
    """A function returns the losses that the class reduces; a string is the class as it comes."""
    name, arguments = call[:2]
    y_true, y_pred, _ = inputs(call, "float64")
    loss = getattr(losses, name)(**arguments, reduction=None)
    values = loss(y_true, y_pred)
    function = next(f for f, c in losses._FUNCTIONS.items() if c is type(loss))
    np.testing.assert_array_equal(function(y_true, y_pred, **arguments), values)
    if arguments.get("ignore_class") is None:
        close(np.mean(values), golden()["values"][number], "float64")
    if not arguments:
        by_name = losses.get(function.__name__)
        assert type(by_name) is type(loss)
        close(by_name(y_true, y_pred), golden()["values"][number], "float64")
        assert type(losses.get(function)) is type(loss)
        assert type(losses.get(name)) is type(loss)
