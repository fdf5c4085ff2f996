"""Golden numbers for other axes than the last, and for rates at rates, by Keras 3 on PyTorch.

    KERAS_BACKEND=torch python tests/golden/make_axes.py

writes axes.json beside this file: activations with the gradients of sum(w y), losses with the
gradients of their sum, PReLU with shared axes, and metrics.
"""

import json
from pathlib import Path

import numpy as np

PATH = Path(__file__).with_name("axes.json")
RNG = np.random.default_rng(2)
X = RNG.standard_normal((3, 4, 2, 5)).round(2)
W = RNG.standard_normal(X.shape).round(2)
LABELS = RNG.integers(0, 2, X.shape).astype(float)
SCORES = RNG.uniform(0, 1, 60).round(2)
TRUTH = (SCORES + RNG.normal(0, 0.3, 60) > 0.5).astype(int)
WEIGHTS = RNG.uniform(0.2, 1.5, 60).round(2)

ACTIVATIONS = [
    *((name, axis) for name in ("softmax", "log_softmax") for axis in (-1, 1, 2, -3)),
    ("softmax", [1, 3]),
    ("softmax", [2, 3]),
]
LOSSES = [
    (name, axis) for name in ("Dice", "Tversky") for axis in ([1, 3], [0, 2], [2, -1], [0, 3], 1)
]
SHARED = [[2], [1, 3], [3], [2, 3]]
METRICS = [
    (name, value, count)
    for name in (
        "SensitivityAtSpecificity",
        "SpecificityAtSensitivity",
        "PrecisionAtRecall",
        "RecallAtPrecision",
    )
    for value, count in ((0.5, 200), (0.8, 11), (0.3, 1), (1.0, 50))
]


def main():
    import keras
    import torch

    keras.config.set_floatx("float64")

    def with_gradient(function):
        x = torch.tensor(X, requires_grad=True)
        y = function(x)
        (y * torch.tensor(W) if y.shape == x.shape else y).sum().backward()
        return y.detach().cpu().numpy().tolist(), x.grad.cpu().numpy().tolist()

    results = {"activations": [], "losses": [], "prelu": [], "metrics": []}
    for name, axis in ACTIVATIONS:
        if isinstance(axis, list):
            layer = keras.layers.Softmax(axis=axis)
            results["activations"].append(with_gradient(layer))
        else:
            function = getattr(keras.activations, name)
            results["activations"].append(with_gradient(lambda x, f=function, a=axis: f(x, axis=a)))
    for name, axis in LOSSES:
        loss = getattr(keras.losses, name)(axis=axis, reduction=None)
        labels = torch.tensor(LABELS)
        results["losses"].append(with_gradient(lambda x, f=loss, t=labels: f(t, torch.sigmoid(x))))
    for axes in SHARED:
        layer = keras.layers.PReLU("ones", shared_axes=axes)
        layer.build(X.shape)
        shape = layer.alpha.shape
        layer.alpha.assign(np.linspace(-1, 1, int(np.prod(shape))).reshape(shape))
        y, dx = with_gradient(layer)
        results["prelu"].append([y, dx, layer.alpha.value.grad.cpu().numpy().tolist()])
    for name, value, count in METRICS:
        metric = getattr(keras.metrics, name)(value, num_thresholds=count)
        plain = float(metric(TRUTH, SCORES))
        metric.reset_state()
        results["metrics"].append([plain, float(metric(TRUTH, SCORES, sample_weight=WEIGHTS))])
    rounded = json.loads(json.dumps(results), parse_float=lambda text: round(float(text), 9))
    PATH.write_text(json.dumps(rounded) + "\n")


if __name__ == "__main__":
    main()
