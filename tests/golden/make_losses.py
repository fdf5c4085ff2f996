"""Writes losses.npz: values and gradients of Keras' losses in float64, with their inputs.

Run with Keras 3 and PyTorch installed: ``KERAS_BACKEND=torch python tests/golden/make_losses.py``.
Every entry is a call in the table CALLS, which the tests read, too.
"""

import json
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
RNG = np.random.default_rng(8)
ROWS, COLUMNS = 6, 5

NORMAL = RNG.standard_normal((ROWS, COLUMNS))
INPUTS = {
    "normal": NORMAL,
    "other": RNG.standard_normal((ROWS, COLUMNS)),
    "unit": RNG.uniform(0.02, 0.98, (ROWS, COLUMNS)),
    "softmax": np.exp(NORMAL) / np.exp(NORMAL).sum(axis=1, keepdims=True),
    "one_hot": np.eye(COLUMNS)[RNG.integers(0, COLUMNS, ROWS)],
    "shares": RNG.dirichlet(np.ones(COLUMNS), ROWS),
    "bits": RNG.integers(0, 2, (ROWS, COLUMNS)).astype(float),
    "signs": 2.0 * RNG.integers(0, 2, (ROWS, COLUMNS)) - 1.0,
    "classes": RNG.integers(0, COLUMNS, ROWS),
    "ignoring": np.array([0, 3, 255, 2, 255, 4]),
    "positive": RNG.uniform(0.1, 3.0, (ROWS, COLUMNS)),
    "extreme": np.array([[0.0, 1.0, 0.5, 1e-9, 0.25], [1.0, 0.0, 0.0, 0.0, 0.0]]),
    "extreme_labels": np.array([[1.0, 0.0, 0.5, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0, 0.0]]),
    "images": RNG.uniform(0.02, 0.98, (4, 3, 2, 3)),
    "masks": RNG.integers(0, 2, (4, 3, 2, 3)).astype(float),
    "pixels": RNG.integers(0, 3, (4, 3, 2)),
    "weights": np.array([0.5, 2.0, 0.25, 0.0, 1.0, 1.75]),  # exact in float32
}

LOGITS = {"from_logits": True}
SMOOTH = {"label_smoothing": 0.2}
ALPHAS = {"alpha": [0.1, 0.2, 0.7, 1.5, 0.0]}
REDUCTIONS = ("sum", "mean", "mean_with_sample_weight")


def calls():
    """(class, arguments, y_true, y_pred, sample_weight) of each entry."""
    table = [
        ("CategoricalCrossentropy", {}, "shares", "softmax"),
        ("CategoricalCrossentropy", {}, "one_hot", "positive"),
        ("CategoricalCrossentropy", SMOOTH, "one_hot", "softmax"),
        ("CategoricalCrossentropy", LOGITS | SMOOTH, "one_hot", "normal"),
        ("CategoricalCrossentropy", LOGITS, "shares", "normal"),
        ("CategoricalCrossentropy", {}, "masks", "images"),
        ("SparseCategoricalCrossentropy", {}, "classes", "softmax"),
        ("SparseCategoricalCrossentropy", LOGITS, "classes", "normal"),
        ("SparseCategoricalCrossentropy", {}, "pixels", "images"),
        ("SparseCategoricalCrossentropy", {"ignore_class": 255}, "ignoring", "softmax"),
        ("SparseCategoricalCrossentropy", LOGITS | {"ignore_class": 255}, "ignoring", "normal"),
        ("SparseCategoricalCrossentropy", LOGITS | {"ignore_class": 2}, "ignoring_2", "normal"),
        ("SparseCategoricalCrossentropy", {"ignore_class": 1}, "pixels", "images"),
        ("BinaryCrossentropy", {}, "bits", "unit"),
        ("BinaryCrossentropy", SMOOTH, "bits", "unit"),
        ("BinaryCrossentropy", LOGITS, "unit", "normal"),
        ("BinaryCrossentropy", LOGITS | SMOOTH, "bits", "normal"),
        ("CategoricalFocalCrossentropy", {}, "one_hot", "softmax"),
        ("CategoricalFocalCrossentropy", {"alpha": 0.6, "gamma": 0.5}, "shares", "positive"),
        ("CategoricalFocalCrossentropy", LOGITS | SMOOTH | {"gamma": 3.0}, "one_hot", "normal"),
        ("CategoricalFocalCrossentropy", ALPHAS, "shares", "softmax"),
        ("CategoricalFocalCrossentropy", ALPHAS | LOGITS | SMOOTH, "one_hot", "normal"),
        ("BinaryFocalCrossentropy", {}, "bits", "unit"),
        ("BinaryFocalCrossentropy", {"apply_class_balancing": True, "gamma": 1.5}, "bits", "unit"),
        ("BinaryFocalCrossentropy", LOGITS | SMOOTH | {"alpha": 0.7}, "bits", "normal"),
        (
            "BinaryFocalCrossentropy",
            LOGITS | {"apply_class_balancing": True, "alpha": 0.7, "gamma": 0.5},
            "unit",
            "normal",
        ),
        ("MeanSquaredError", {}, "other", "normal"),
        ("MeanSquaredError", {}, "masks", "images"),
        ("MeanAbsoluteError", {}, "other", "normal"),
        ("MeanAbsolutePercentageError", {}, "other", "normal"),
        ("MeanAbsolutePercentageError", {}, "positive", "normal"),
        ("MeanSquaredLogarithmicError", {}, "positive", "unit"),
        ("MeanSquaredLogarithmicError", {}, "normal", "other"),
        ("Huber", {}, "other", "normal"),
        ("Huber", {"delta": 0.4}, "other", "normal"),
        ("LogCosh", {}, "other", "normal"),
        ("KLDivergence", {}, "shares", "softmax"),
        ("KLDivergence", {}, "one_hot", "positive"),
        ("Poisson", {}, "positive", "unit"),
        ("Hinge", {}, "bits", "normal"),
        ("Hinge", {}, "signs", "normal"),
        ("Hinge", {}, "shares", "normal"),
        ("SquaredHinge", {}, "bits", "normal"),
        ("SquaredHinge", {}, "signs", "other"),
        ("CategoricalHinge", {}, "one_hot", "normal"),
        ("CategoricalHinge", {}, "shares", "other"),
        ("CosineSimilarity", {}, "other", "normal"),
        ("CosineSimilarity", {}, "masks", "images"),
        ("Dice", {}, "bits", "unit"),
        ("Dice", {}, "masks", "images"),
        ("Dice", {"axis": -1}, "bits", "unit"),
        ("Dice", {"axis": [1, 2, 3]}, "masks", "images"),
        ("Dice", {"axis": [1, 2]}, "masks", "images"),
        ("Dice", {"axis": 0}, "bits", "unit"),
        ("Tversky", {}, "bits", "unit"),
        ("Tversky", {"alpha": 0.3, "beta": 0.9}, "masks", "images"),
        ("Tversky", {"alpha": 0.3, "beta": 0.9, "axis": [-2, -1]}, "masks", "images"),
    ]
    for name, arguments, y_true, y_pred in table:
        yield name, arguments, y_true, y_pred, None
        one_for_all = name in ("Dice", "Tversky") and arguments.get("axis") in (None, 0)
        # Keras broadcasts weights against the last axis: only one a sample is the same here.
        if y_pred in ("images",) or one_for_all:
            for reduction in REDUCTIONS[:1]:
                yield name, arguments | {"reduction": reduction}, y_true, y_pred, None
            continue
        yield name, arguments, y_true, y_pred, "weights"
        for reduction in REDUCTIONS:
            yield name, arguments | {"reduction": reduction}, y_true, y_pred, "weights"


# The class that is ignored may also be one that the model has an output for.
INPUTS["ignoring_2"] = np.where(INPUTS["ignoring"] == 255, 1, INPUTS["ignoring"])
CALLS = list(calls())
# At the ends of probabilities: values alone, for Keras' gradients differ at a clip's edge.
EDGES = [
    ("CategoricalCrossentropy", {}),
    ("BinaryCrossentropy", {}),
    ("CategoricalFocalCrossentropy", {}),
    ("BinaryFocalCrossentropy", {}),
    ("KLDivergence", {}),
    ("Poisson", {}),
    ("MeanSquaredLogarithmicError", {}),
    ("MeanAbsolutePercentageError", {}),
    ("MeanSquaredError", {}),
    ("CosineSimilarity", {}),
    ("Dice", {}),
]


def main():
    """Ask Keras."""
    import keras
    import torch
    from keras.src.backend.common import dtypes

    keras.config.set_floatx("float64")
    # On PyTorch Keras computes means in float32 even if floatx is float64.
    dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"
    results = {f"input.{name}": array for name, array in INPUTS.items()}
    values, gradients = [], []
    for name, arguments, y_true, y_pred, weights in CALLS:
        arguments = dict(arguments)
        if isinstance(arguments.get("axis"), list):
            arguments["axis"] = tuple(arguments["axis"])
        loss = getattr(keras.losses, name)(**arguments)
        labels, predictions = INPUTS[y_true], INPUTS[y_pred]
        if y_true == "pixels":  # PyTorch has no gradient of these in more than two dimensions
            labels, predictions = labels.reshape(-1), predictions.reshape(-1, 3)
        x = torch.tensor(predictions, requires_grad=True)
        weight = None if weights is None else torch.tensor(INPUTS[weights])
        value = loss(torch.tensor(labels), x, sample_weight=weight)
        value.backward()
        values.append(value.detach().numpy())
        gradients.append(x.grad.numpy().ravel())
    edges = []
    for name, arguments in EDGES:
        loss = getattr(keras.losses, name)(**arguments)
        value = loss(INPUTS["extreme_labels"], INPUTS["extreme"])
        edges.append(keras.ops.convert_to_numpy(value))
    results |= {"values": np.array(values), "edges": np.array(edges)}
    results["gradients"] = np.concatenate(gradients)
    results["keras"] = np.array(json.dumps(keras.__version__))
    np.savez_compressed(HERE / "losses.npz", **results)


if __name__ == "__main__":
    main()
