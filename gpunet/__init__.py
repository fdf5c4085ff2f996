"""gpunet: Keras-style neural networks on hand-written CUDA kernels or plain NumPy."""

from gpunet import (
    activations,
    callbacks,
    constraints,
    datasets,
    errors,
    initializers,
    layers,
    losses,
    metrics,
    models,
    ops,
    optimizers,
    random,
    regularizers,
    schedules,
    testing,
    utils,
)
from gpunet.backend import get_backend, set_backend
from gpunet.engine.graph import Input
from gpunet.models import Model, Sequential

__version__ = "0.1.0"

__all__ = [
    "Input",
    "Model",
    "Sequential",
    "activations",
    "callbacks",
    "constraints",
    "datasets",
    "errors",
    "get_backend",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "ops",
    "optimizers",
    "random",
    "regularizers",
    "schedules",
    "set_backend",
    "testing",
    "utils",
]
