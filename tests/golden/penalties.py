"""Golden numbers of regularizers and constraints: made with Keras 3 in float64.

    KERAS_BACKEND=torch python tests/golden/penalties.py

writes penalties.json beside this file: for each set-up the loss of each epoch, and of evaluate
afterwards (Keras keeps these in float32), and all weights. The tests
build the same set-ups with gpunet. Weights and data are formulas, so that nothing has to be stored.
"""

import json
from pathlib import Path

import numpy as np

PATH = Path(__file__).with_name("penalties.json")


def wave(*shape, shift=0.0):
    """Numbers between -1 and 1."""
    return np.sin(1.7 * np.arange(np.prod(shape)) + shift).reshape(shape)


def classifier(k):
    reg, con = k.regularizers, k.constraints
    model = k.Sequential(
        [
            k.Input((4,)),
            k.layers.Dense(
                5,
                "tanh",
                kernel_regularizer=reg.L1L2(0.02, 0.05),
                bias_regularizer="l2",
                activity_regularizer=reg.L2(0.1),
                kernel_constraint=con.MaxNorm(1.0),
            ),
            k.layers.Dense(
                3,
                "softmax",
                kernel_regularizer=reg.L1(0.03),
                activity_regularizer=reg.L1L2(0.01, 0.2),
                kernel_constraint=con.MinMaxNorm(0.5, 0.8, 0.7, axis=1),
                bias_constraint=con.NonNeg(),
            ),
        ]
    )
    y = np.arange(7) % 3
    return model, wave(7, 4), y, "sparse_categorical_crossentropy", {}


def frozen_and_weighted(k):
    frozen = k.layers.Dense(4, "relu", kernel_regularizer="l2", kernel_constraint="non_neg")
    frozen.trainable = False
    model = k.Sequential(
        [
            k.Input((3,)),
            frozen,
            k.layers.Dense(1, "sigmoid", kernel_regularizer=k.regularizers.L2(0.3)),
        ]
    )
    fit = {"sample_weight": np.linspace(0.25, 2.0, 8)}
    return model, wave(8, 3), (np.arange(8.0) % 2)[:, None], "binary_crossentropy", fit


def rank_3(k):
    model = k.Sequential(
        [
            k.Input((2, 4)),
            k.layers.Dense(3, "sigmoid", activity_regularizer=k.regularizers.L1(0.2)),
            k.layers.Dense(
                2, kernel_regularizer="l2", kernel_constraint=k.constraints.UnitNorm(axis=[0, 1])
            ),
        ]
    )
    return model, wave(5, 2, 4), wave(5, 2, 2, shift=1.0), "mean_squared_error", {}


def shared(k):
    a, b = k.Input((3,), name="a"), k.Input((3,), name="b")
    dense = k.layers.Dense(
        3, "tanh", kernel_regularizer="l1", activity_regularizer=k.regularizers.L2(0.4)
    )
    y = k.layers.Dense(2, bias_constraint=k.constraints.UnitNorm())(
        k.layers.Add()([dense(a), dense(dense(b))])
    )
    model = k.Model([a, b], y)
    return model, [wave(6, 3), wave(6, 3, shift=2.0)], wave(6, 2), "mean_squared_error", {}


def orthogonal(k):
    reg = k.regularizers
    model = k.Sequential(
        [
            k.Input((4,)),
            k.layers.Dense(
                5,
                "tanh",
                kernel_regularizer=reg.OrthogonalRegularizer(0.4),
                bias_regularizer="l2",
                activity_regularizer=reg.OrthogonalRegularizer(0.7, "columns"),
            ),
            k.layers.Dense(
                3, "softmax", kernel_regularizer=reg.OrthogonalRegularizer(0.6, mode="columns")
            ),
        ]
    )
    y = np.arange(6) % 3
    return model, wave(6, 4), y, "sparse_categorical_crossentropy", {}


SETUPS = {f.__name__: f for f in (classifier, frozen_and_weighted, rank_3, shared, orthogonal)}


def start(model):
    """First weights by a formula."""
    model.set_weights(
        [0.9 * wave(*np.shape(w), shift=i) for i, w in enumerate(model.get_weights())]
    )


def train(model, x, y, loss, fit, optimizer):
    """Train for three epochs; what fit and evaluate report, and the weights afterwards."""
    model.compile(optimizer, loss)
    history = model.fit(x, y, batch_size=3, epochs=3, shuffle=False, verbose=0, **fit)
    after = model.evaluate(x, y, batch_size=4, verbose=0, **fit)
    weights = [np.asarray(w).tolist() for w in model.get_weights()]
    return {"losses": history.history["loss"], "evaluate": float(after), "weights": weights}


def main():
    import keras
    from keras.src.backend.common import dtypes

    dtypes.BIT64_TO_BIT32_DTYPE.pop("float64")  # else Keras' ops compute float64 in float32
    keras.config.set_floatx("float64")
    golden = {}
    for name, make in SETUPS.items():
        for optimizer in ("SGD", "Adam"):
            model, x, y, loss, fit = make(keras)
            start(model)
            rate = getattr(keras.optimizers, optimizer)(learning_rate=0.125)
            golden[f"{name}-{optimizer}"] = train(model, x, y, loss, fit, rate)
    PATH.write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
