"""gpunet: Keras-style neural networks on hand-written CUDA kernels or plain NumPy.

Example:
    >>> import numpy as np
    >>> from gpunet import Sequential, layers
    >>> model = Sequential([layers.Dense(8, "relu"), layers.Dense(1)])
    >>> model.compile(optimizer="adam", loss="mse")
    >>> x, y = np.ones((64, 3)), np.zeros((64, 1))
    >>> history = model.fit(x, y, epochs=2, verbose=0)
    >>> model.predict(x, verbose=0).shape
    (64, 1)

What a reader may want next: a layer's forward and backward (`gpunet.layers.Dense`), the ops that
they record (`gpunet.ops`, one function each), and the step that comes of them
(`model.training_plan`).
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

from gpunet import (
    activations,
    callbacks,
    constraints,
    errors,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    random,
    regularizers,
    schedules,
    utils,
)
from gpunet.backend import get_backend, set_backend
from gpunet.backend.precision import get_matmul_precision, set_matmul_precision
from gpunet.layers.input_layer import Input
from gpunet.models import Model, Sequential

if TYPE_CHECKING:
    from gpunet import datasets, ops, testing, text

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
    "get_matmul_precision",
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
    "set_matmul_precision",
    "testing",
    "text",
    "utils",
]

_IMPORTED_WHEN_USED = ("datasets", "ops", "testing", "text")


def __getattr__(name: str) -> ModuleType:
    """Import what no training needs when it is used, not with `import gpunet`."""
    if name in _IMPORTED_WHEN_USED:
        return importlib.import_module(f"gpunet.{name}")
    module = sys.modules[__name__]  # given to the error, so that Python can suggest a name
    raise AttributeError(f"module 'gpunet' has no attribute {name!r}", name=name, obj=module)
