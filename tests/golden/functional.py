"""Golden trainings of models with several inputs and outputs, by Keras 3.

    KERAS_BACKEND=torch python tests/golden/functional.py

writes functional.json beside this file: for each set-up what fit's History holds, and what evaluate
returns as a list. The set-ups and the data are also what the test trains gpunet on.
"""

import json
from pathlib import Path

import numpy as np

PATH = Path(__file__).with_name("functional.json")
RNG = np.random.default_rng(5)
LEFT = RNG.standard_normal((12, 4)).astype(np.float32)
RIGHT = RNG.standard_normal((12, 3)).astype(np.float32)
PRICE = RNG.standard_normal((12, 1)).astype(np.float32)
KIND = np.arange(12) % 3
WEIGHT = RNG.uniform(0.1, 2.0, 12).astype(np.float32)

SETUPS = {
    "one loss for all": {"loss": "mse"},
    "lists": {
        "loss": ["mse", "sparse_categorical_crossentropy"],
        "loss_weights": [0.5, 2.0],
        "metrics": [["mae", "mse"], ["accuracy"]],
    },
    "dicts": {
        "loss": {"kind": "sparse_categorical_crossentropy", "price": "mae"},
        "loss_weights": {"price": 0.25, "kind": 1.5},
        "metrics": {"kind": ["accuracy"]},
        "weighted_metrics": {"kind": ["accuracy"], "price": ["mse"]},
    },
    "a weight of 0": {
        "loss": ["mse", "sparse_categorical_crossentropy"],
        "loss_weights": [0.0, 1.0],
    },
    "sample weights": {
        "loss": ["mse", "sparse_categorical_crossentropy"],
        "weighted_metrics": [["mae"], None],
        "sample_weight": [WEIGHT, np.ones(12, np.float32)],
    },
    "penalties": {
        "loss": ["mse", "sparse_categorical_crossentropy"],
        "loss_weights": [0.5, 3.0],
        "regularizer": "l2",
    },
}


def model(k, regularizer=None):
    """Two inputs, a shared layer, a residual, two outputs; the weights are always the same."""
    left, right = k.Input((4,), name="left"), k.Input((3,), name="right")
    shared = k.layers.Dense(4, "tanh", name="shared", kernel_regularizer=regularizer)
    both = k.layers.Add(name="both")([shared(left), k.layers.Dense(4, name="widen")(right)])
    both = k.layers.Add(name="residual")([both, shared(both)])
    price = k.layers.Dense(1, name="price")(both)
    kind = k.layers.Dense(3, "softmax", name="kind", activity_regularizer=regularizer)(both)
    made = k.Model([left, right], [price, kind])
    rng = np.random.default_rng(3)
    made.set_weights([rng.normal(0, 0.4, np.shape(w)) for w in made.get_weights()])
    return made


def train(k, setup):
    """History, and what evaluate returns."""
    setup = dict(setup)
    sample_weight, regularizer = setup.pop("sample_weight", None), setup.pop("regularizer", None)
    made = model(k, regularizer)
    made.compile(k.optimizers.SGD(0.1), **setup)
    kind = np.eye(3, dtype=np.float32)[KIND] if setup["loss"] == "mse" else KIND
    options = {"batch_size": 5, "verbose": 0, "sample_weight": sample_weight}
    x, y = [LEFT, RIGHT], [PRICE, kind]
    history = made.fit(x, y, epochs=3, shuffle=False, **options).history
    return history, made.evaluate(x, y, **options)


def main():
    import keras

    results = {name: train(keras, setup) for name, setup in SETUPS.items()}
    PATH.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
