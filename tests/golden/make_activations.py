"""Writes activations.json: values and gradients of Keras' activations, computed in float64.

Run it with Keras 3 and PyTorch installed: ``KERAS_BACKEND=torch python make_activations.py``.
The tests read the numbers and need neither. No x lies at a kink, where gradients are a matter of
taste, nor beyond 20, from where PyTorch takes softplus(x) for x.
"""

import json
from pathlib import Path

import keras
import numpy as np
import torch

keras.config.set_floatx("float64")

X = np.concatenate([np.linspace(-19, 19, 39), np.linspace(-2, 2, 23)])
X = np.round(X * 64) / 64 + 1 / 128  # exact in float32
CASES = [
    ("linear", {}),
    ("relu", {}),
    ("relu", {"negative_slope": 0.25}),
    ("relu", {"max_value": 6.0}),
    ("relu", {"threshold": 0.5}),
    ("relu", {"negative_slope": 0.125, "max_value": 2.0, "threshold": 0.75}),
    ("relu", {"negative_slope": 0.125, "max_value": 0.5, "threshold": 0.75}),
    ("leaky_relu", {}),
    ("leaky_relu", {"negative_slope": 2.0}),
    ("relu6", {}),
    ("elu", {}),
    ("elu", {"alpha": 0.5}),
    ("selu", {}),
    ("celu", {}),
    ("celu", {"alpha": 0.5}),
    ("sigmoid", {}),
    ("hard_sigmoid", {}),
    ("sparse_sigmoid", {}),
    ("log_sigmoid", {}),
    ("tanh", {}),
    ("hard_tanh", {}),
    ("tanh_shrink", {}),
    ("softplus", {}),
    ("softsign", {}),
    ("squareplus", {}),
    ("squareplus", {"b": 0.5}),
    ("sparse_plus", {}),
    ("soft_shrink", {}),
    ("soft_shrink", {"threshold": 1.25}),
    ("hard_shrink", {}),
    ("hard_shrink", {"threshold": 1.25}),
    ("threshold", {"threshold": 0.5, "default_value": 2.0}),
    ("exponential", {}),
    ("silu", {}),
    ("swish", {}),
    ("hard_silu", {}),
    ("hard_swish", {}),
    ("gelu", {}),
    ("gelu", {"approximate": True}),
    ("mish", {}),
    ("softmax", {}),
    ("log_softmax", {}),
    ("glu", {}),
]
ROWS = {"softmax", "log_softmax", "glu"}


def golden(name, arguments):
    """y = f(x) and the gradient of sum(dy * y), where dy is 1, or 1, 2, 3, ... along rows."""
    rows = name in ROWS
    x = torch.tensor(X[:60].reshape(10, 6) / 4 if rows else X, requires_grad=True)
    y = getattr(keras.activations, name)(x, **arguments)
    dy = torch.arange(1.0, y.shape[-1] + 1, dtype=torch.float64) if rows else torch.ones(())
    (y * dy).sum().backward()
    values = {"x": x.detach(), "y": y.detach(), "dx": x.grad}
    return {
        "name": name,
        "arguments": arguments,
        **{key: value.reshape(-1).tolist() for key, value in values.items()},
    }


def golden_prelu():
    """The layer PReLU with one alpha a channel: y, dx and dalpha for dy = 1, 2, 3, ..."""
    x = torch.tensor(X[:24].reshape(2, 2, 2, 3), requires_grad=True)
    layer = keras.layers.PReLU(shared_axes=[1, 2])
    layer.build(x.shape)
    layer.set_weights([np.array([0.25, -0.5, 1.5]).reshape(1, 1, 3)])
    y = layer(x)
    (y * torch.arange(1.0, 25.0, dtype=torch.float64).reshape(y.shape)).sum().backward()
    values = {"x": x, "y": y, "dx": x.grad, "alpha": layer.alpha.value}
    values["dalpha"] = layer.alpha.value.grad
    return {key: value.detach().reshape(-1).tolist() for key, value in values.items()}


if __name__ == "__main__":
    rows = [json.dumps(golden(name, arguments)) for name, arguments in CASES]
    functions, prelu = ",\n".join(rows), json.dumps(golden_prelu())
    text = f'{{"functions": [\n{functions}\n],\n"prelu": {prelu}}}\n'
    Path(__file__).with_name("activations.json").write_text(text)
