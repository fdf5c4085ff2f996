"""Every layer, optimizer and loss trains a few steps on the checked build: no alarm."""

from __future__ import annotations

import functools
import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

import gpunet.backend
from gpunet import Input, Model, Sequential, layers, losses, optimizers
from gpunet.errors import GpunetError
from gpunet.saving.configs import public_classes

pytestmark = pytest.mark.emulator

# The first that a layer takes is used.
SHAPES = [(12,), (4, 6), (6, 6, 2), (4, 4, 4, 2), (2, 32), (6, 6), (3, 2, 5, 2), (2, 2, 3, 2, 1)]
RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((10, 5)).astype(np.float32)
CLASSES = RANDOM.integers(0, 3, 10).astype(np.int32)


def configs():
    """The module that has an object of every public class that needs arguments."""
    path = Path(__file__).parents[1] / "test_configs.py"
    spec = importlib.util.spec_from_file_location("configs", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


INSTANCES = configs().instances


def examples(module, base):
    return [
        pytest.param(thing, id=f"{name}{number}")
        for name, cls in public_classes(module, base).items()
        if cls not in (base, layers.InputLayer)
        for number, thing in enumerate(INSTANCES(cls))
    ]


@pytest.fixture(autouse=True)
def _checked(monkeypatch):
    """A backend of its own, whose scratch memory is of the checked build, too."""
    monkeypatch.setenv("GPUNET_EMULATOR", "checked")
    fresh = functools.cache(gpunet.backend._emulator.__wrapped__)
    monkeypatch.setattr(gpunet.backend, "_emulator", fresh)
    gpunet.backend.set_backend("emulator")


def trained(model, labels=CLASSES, optimizer="sgd", loss="sparse_categorical_crossentropy", x=X):
    """Train, evaluate and predict; return the losses."""
    model.compile(optimizer=optimizer, loss=loss)
    # 10 samples in batches of 4: the last one is smaller.
    history = model.fit(x, labels, batch_size=4, epochs=2, verbose=0)
    assert np.isfinite(model.evaluate(x, labels, batch_size=4, verbose=0))
    assert np.isfinite(model.predict(x, verbose=0)).all()
    assert np.isfinite(history.history["loss"]).all()
    return history.history["loss"]


def around(layer, shape):
    """A model with the layer in its middle."""
    if layer.input_dtype == "int32":
        words = Input((5,), dtype="int32")
        return Model(words, classes_of(layer(words)))
    x = Input((5,))
    h = layers.Reshape(shape)(layers.Dense(math.prod(shape), "tanh")(x))
    if layer.inputs != 1:
        h = [h, layers.Reshape(shape)(layers.Dense(math.prod(shape))(x))]
    if hasattr(layer, "state_size"):
        layer = layers.RNN(layer)
    y = layer(*h) if layer.takes_arguments else layer(h)
    y = y[0] if isinstance(y, list) else y
    return Model(x, classes_of(y))


def classes_of(y):
    """Three classes, from all numbers or, behind a mask, from the mean of the steps."""
    flat = layers.Flatten() if y.mask is None else layers.GlobalAveragePooling1D()
    return layers.Dense(3, "softmax")(flat(y))


@pytest.mark.parametrize("layer", examples(layers, layers.Layer))
def test_layers(layer):
    problems = []
    for shape in SHAPES:
        again = type(layer).from_config(layer.get_config())
        try:
            model = around(again, shape)
        except GpunetError as problem:
            problems.append(str(problem))
        else:
            trained(model, x=(X > 0).astype(np.int32) if again.input_dtype == "int32" else X)
            return
    pytest.fail(f"no shape fits: {problems}")


def classifier(last="softmax"):
    return Sequential(
        [
            Input((5,)),
            layers.Dense(33, "gelu", kernel_regularizer="l2"),
            layers.Dropout(0.3),
            layers.Dense(7),
            layers.PReLU(),
            layers.Dense(3, last),
        ]
    )


@pytest.mark.parametrize("optimizer", examples(optimizers, optimizers.Optimizer))
def test_optimizers(optimizer):
    trained(classifier(), optimizer=optimizer)


@pytest.mark.parametrize("loss", examples(losses, losses.Loss))
def test_losses(loss):
    if isinstance(loss, losses.CTC):
        x = RANDOM.standard_normal((10, 7, 5)).astype(np.float32)
        speller = Sequential([layers.Dense(4, input_shape=(7, 5))])
        trained(speller, np.array([[1, 3, 3, 0]] * 10), "adam", loss, x)
        return
    sparse = "Sparse" in type(loss).__name__
    labels = CLASSES if sparse else np.eye(3, dtype=np.float32)[CLASSES]
    logits = loss.get_config().get("from_logits")
    trained(classifier("linear" if logits else "softmax"), labels, "adam", loss)


def test_a_small_network_learns():
    x = RANDOM.standard_normal((128, 5)).astype(np.float32)
    labels = (x[:, 0] > 0).astype(np.int32) + (x[:, 1] > 0)
    model = classifier()
    model.compile(optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, labels, batch_size=32, epochs=4, verbose=0).history
    assert history["loss"][-1] < 0.9 * history["loss"][0]
