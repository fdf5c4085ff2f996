"""Makes metrics.json: what Keras' metrics are on small data, after several batches.

KERAS_BACKEND=torch python tests/golden/make_metrics.py  (keras 3.15, torch 2.13)
"""

import inspect
import json
from pathlib import Path

import keras
import numpy as np

# (class, arguments, data)
METRICS = [
    *(("BinaryAccuracy", {"threshold": t}, "binary") for t in (0.5, 0.25)),
    ("BinaryAccuracy", {}, "multilabel"),
    ("Accuracy", {}, "classes"),
    ("CategoricalAccuracy", {}, "onehot"),
    ("SparseCategoricalAccuracy", {}, "sparse"),
    *(("TopKCategoricalAccuracy", {"k": k}, "onehot") for k in (1, 2, 4)),
    ("SparseTopKCategoricalAccuracy", {"k": 2}, "sparse"),
    *(
        (kind, arguments, "binary")
        for kind in ("TruePositives", "TrueNegatives", "FalsePositives", "FalseNegatives")
        for arguments in ({}, {"thresholds": [0.7, 0.25, 0.5]})
    ),
    *(
        (kind, arguments, data)
        for kind in ("Precision", "Recall")
        for arguments, data in (
            ({}, "binary"),
            ({"thresholds": [0.7, 0.25, 0.5]}, "binary"),
            ({"thresholds": 1.0}, "binary"),
            ({}, "multilabel"),
            ({"class_id": 2}, "multilabel"),
            ({"top_k": 2}, "multilabel"),
            ({"top_k": 2, "class_id": 1, "thresholds": 0.3}, "multilabel"),
        )
    ),
    *(
        ("AUC", {"curve": curve, "summation_method": method, **arguments}, data)
        for curve in ("ROC", "PR", "PRGAIN")
        for method in ("interpolation", "minoring", "majoring")
        for arguments, data in (
            ({}, "binary"),
            ({"num_thresholds": 7}, "multilabel"),
            ({"thresholds": [0.6, 0.1, 0.25]}, "binary"),
            ({"num_thresholds": 9, "multi_label": True}, "multilabel"),
        )
    ),
    ("AUC", {"num_thresholds": 9, "from_logits": True}, "logits"),
    (
        "AUC",
        {"num_thresholds": 9, "multi_label": True, "label_weights": [1.0, 2.0, 0.0, 0.5]},
        "multilabel",
    ),
    *(
        ("F1Score", {"average": average, "threshold": threshold}, data)
        for average in (None, "micro", "macro", "weighted")
        for threshold, data in ((0.5, "multilabel"), (None, "onehot"))
    ),
    ("FBetaScore", {"average": "macro", "beta": 2.0, "threshold": 0.3}, "multilabel"),
    ("MeanIoU", {"num_classes": 4}, "classes"),
    ("MeanIoU", {"num_classes": 5, "ignore_class": 1}, "classes"),
    ("MeanIoU", {"num_classes": 4, "sparse_y_pred": False}, "sparse"),
    ("IoU", {"num_classes": 4, "target_class_ids": [0, 2]}, "classes"),
    ("BinaryIoU", {}, "binary"),
    ("BinaryIoU", {"target_class_ids": [1], "threshold": 0.25}, "multilabel"),
    ("OneHotIoU", {"num_classes": 4, "target_class_ids": [1, 3]}, "onehot"),
    ("OneHotMeanIoU", {"num_classes": 4}, "onehot"),
    ("MeanSquaredError", {}, "numbers"),
    ("RootMeanSquaredError", {}, "numbers"),
    ("MeanAbsoluteError", {}, "numbers"),
    ("MeanAbsolutePercentageError", {}, "numbers"),
    ("MeanSquaredLogarithmicError", {}, "positive"),
    ("CosineSimilarity", {}, "numbers"),
    ("LogCoshError", {}, "numbers"),
    *(
        ("R2Score", {"class_aggregation": how, "num_regressors": n}, "numbers")
        for how, n in (
            ("uniform_average", 0),
            ("variance_weighted_average", 0),
            (None, 0),
            ("uniform_average", 3),
        )
    ),
    ("BinaryCrossentropy", {}, "multilabel"),
    ("BinaryCrossentropy", {"from_logits": True}, "logits"),
    ("CategoricalCrossentropy", {}, "onehot"),
    ("SparseCategoricalCrossentropy", {}, "sparse"),
    ("KLDivergence", {}, "shares"),
    ("Poisson", {}, "positive"),
    ("Hinge", {}, "signs"),
    ("SquaredHinge", {}, "signs"),
    ("CategoricalHinge", {}, "onehot"),
]
ROWS = (7, 5, 8)


def softmax(x):
    e = np.exp(x)
    return e / e.sum(axis=1, keepdims=True)


def make_data():
    """Names of data -> (labels, predictions) with 20 rows; some predictions are thresholds."""
    rng = np.random.default_rng(7)
    n = sum(ROWS)
    classes = rng.integers(0, 4, n)
    scores = softmax(rng.standard_normal((n, 4)) + 1.5 * np.eye(4)[classes])
    binary = rng.uniform(0, 1, (n, 1))
    binary[[1, 8, 9], 0] = 0.5, 0.25, 1.0
    multilabel = rng.uniform(0, 1, (n, 4))
    multilabel[3, 1] = 0.5
    data = {
        "binary": (rng.integers(0, 2, (n, 1)), binary),
        "multilabel": (rng.integers(0, 2, (n, 4)), multilabel),
        "logits": (rng.integers(0, 2, (n, 1)), rng.standard_normal((n, 1))),
        "onehot": (np.eye(4)[classes], scores),
        "sparse": (classes, scores),
        "classes": (classes, np.where(rng.uniform(size=n) < 0.6, classes, rng.integers(0, 4, n))),
        "numbers": (rng.standard_normal((n, 3)) + 2, rng.standard_normal((n, 3))),
        "positive": (rng.uniform(0.1, 3, (n, 3)), rng.uniform(0.1, 3, (n, 3))),
        "shares": (softmax(rng.standard_normal((n, 4))), softmax(rng.standard_normal((n, 4)))),
        "signs": (rng.choice([-1, 1], (n, 1)), rng.standard_normal((n, 1))),
    }
    rounded = {name: [np.round(a, 3).tolist() for a in pair] for name, pair in data.items()}
    return rounded, np.round(rng.uniform(0, 2, n), 3).tolist()


def value(kind, arguments, labels, predictions, weights):
    cls = getattr(keras.metrics, kind)
    if "IoU" in kind:
        arguments = {**arguments, "dtype": "float32"}  # else weights are cut off
    metric = cls(**arguments)
    start = 0
    for rows in ROWS:
        part = slice(start, start + rows)
        y, x = (np.array(a[part], "float32") for a in (labels, predictions))
        w = None if weights is None else np.array(weights[part], "float32")
        if w is not None and kind == "BinaryIoU":
            w = np.repeat(w, x.shape[1])  # Keras wants one weight a number here
        metric.update_state(y, x, sample_weight=w)
        start += rows
    return np.asarray(keras.ops.convert_to_numpy(metric.result()), float).tolist()


def main():
    data, weights = make_data()
    values = [
        {
            "metric": kind,
            "arguments": arguments,
            "data": name,
            "result": value(kind, arguments, *data[name], None),
            "weighted": value(kind, arguments, *data[name], weights),
        }
        for kind, arguments, name in METRICS
    ]
    # Constructors, too, are as Keras': names and defaults in order.
    signatures = {
        kind: [
            [p.name, p.default if p.default is not p.empty else "required"]
            for p in inspect.signature(getattr(keras.metrics, kind)).parameters.values()
        ]
        for kind in sorted({kind for kind, _, _ in METRICS} | {"Mean", "Sum"})
    }
    names = {}
    for kind, arguments, _ in METRICS:
        keras.utils.clear_session()  # else later objects of a class have a number in their name
        names[kind] = getattr(keras.metrics, kind)(**arguments).name
    text = {"rows": ROWS, "weights": weights, "data": data, "values": values}
    text |= {"signatures": signatures, "names": names}
    path = Path(__file__).with_name("metrics.json")
    lines = [f"{json.dumps(key)}: {json.dumps(item)}" for key, item in text.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
