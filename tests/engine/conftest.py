"""Random graphs and plans with parts of the engine switched off."""

from __future__ import annotations

import contextlib
from functools import partial

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, layers
from gpunet.backend.cpu import CpuBackend
from gpunet.engine import plan as plan_module
from gpunet.engine import run as run_module
from gpunet.engine import steps as steps_module
from gpunet.engine.plan import ALIGNMENT, Plan

ACTIVATIONS = ["linear", "relu", "sigmoid", "tanh", "softmax", "gelu", "elu", "log_softmax", "silu"]


def _random_tensor(rng, tensors, dense):
    """One more tensor: a random layer on random earlier tensors."""
    x = tensors[rng.integers(len(tensors))]
    shape = x.shape[1:]
    kind = rng.integers(8)
    if kind == 0:
        alike = [t for t in tensors if t.shape == x.shape]
        return layers.Add()([x, alike[rng.integers(len(alike))]])
    if kind == 1:
        return layers.Dropout(0.4)(x)
    if kind == 2:
        return layers.Flatten()(x)
    if kind == 3:
        size = int(np.prod(shape))
        return layers.Reshape((-1, 2) if size % 2 == 0 else (1, -1))(x)
    if kind == 4:
        return layers.Rescaling(1.5, -0.25)(x)
    if kind == 5:
        return layers.Activation(ACTIVATIONS[rng.integers(len(ACTIVATIONS))])(x)
    fitting = [layer for layer in dense if layer.built_for[-1] == shape[-1]]
    if kind == 6 and fitting:
        return fitting[rng.integers(len(fitting))](x)
    dense.append(
        layers.Dense(
            int(rng.integers(1, 6)), ACTIVATIONS[rng.integers(len(ACTIVATIONS))], rng.random() < 0.7
        )
    )
    return dense[-1](x)


def _random_model(seed, ends=("softmax", "sigmoid", "linear"), outputs=1):
    """A small random graph with two inputs, shared layers and reshapes."""
    rng = np.random.default_rng(seed)
    inputs = [Input((4,), name="a"), Input((2, 3), name="b")]
    tensors, dense = list(inputs), []
    for _ in range(10):
        tensors.append(_random_tensor(rng, tensors, dense))
    flat = [layers.Flatten()(t) for t in tensors[-outputs:]]
    end = ends[rng.integers(len(ends))]
    return Model(inputs, [layers.Dense(3, end)(t) for t in flat])


@pytest.fixture(scope="session")
def random_model():
    return _random_model


@pytest.fixture(scope="session")
def random_inputs():
    def make(seed, rows=5):
        rng = np.random.default_rng(seed)
        return [rng.standard_normal((rows, 4)), rng.standard_normal((rows, 2, 3))]

    return make


@pytest.fixture
def mlp():
    """A compiled classifier: 6 -> 5 relu -> 3 softmax."""

    def make(optimizer="sgd", dropout=0.0, metrics=None):
        stack = [layers.Dense(5, "relu", input_dim=6), layers.Dropout(dropout)]
        model = Sequential([*stack, layers.Dense(3, "softmax")])
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=metrics)
        return model

    return make


@contextlib.contextmanager
def _unfused():
    with pytest.MonkeyPatch.context() as patch:
        for module in (steps_module, run_module):
            patch.setattr(module, "Plan", partial(Plan, fused=False))
        yield


def _allocate_apart(records, kept):
    """Memory of its own for each storage."""
    storages = {b.storage for record in records for _, b in record.items()} | set(kept)
    offsets, total = {}, 0
    for storage in storages:
        if storage.resolve is None:
            offsets[storage] = total
            total += (storage.nbytes // ALIGNMENT + 1) * ALIGNMENT
    return offsets, total


@contextlib.contextmanager
def _unshared():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_module, "_allocate", _allocate_apart)
        yield


@contextlib.contextmanager
def _poisoned():
    """New memory holds NaN, so that whoever reads before it writes is found out."""
    empty = CpuBackend.empty

    def full_of_nan(self, shape, dtype):
        array = empty(self, shape, dtype)
        array.reshape(-1).view(np.uint8)[...] = 0xFF
        return array

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CpuBackend, "empty", full_of_nan)
        yield


@pytest.fixture(scope="session")
def unfused():
    return _unfused


@pytest.fixture(scope="session")
def unshared():
    return _unshared


@pytest.fixture(scope="session")
def poisoned():
    return _poisoned


@pytest.fixture(scope="session")
def ops_of():
    def names(plan):
        return [record.op.name for record in plan.records]

    return names
