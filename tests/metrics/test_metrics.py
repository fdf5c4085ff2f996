"""Metrics on their own: Keras' numbers, names, constructors; what is said about wrong arguments."""

import contextlib
import doctest
import importlib
import inspect
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from gpunet import losses, metrics
from gpunet.errors import ArgumentError, DtypeError, ShapeError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "metrics.json").read_text())
VALUES = [
    pytest.param(entry, id=f"{entry['metric']}-{entry['arguments']}-{entry['data']}")
    for entry in GOLDEN["values"]
]


def make(kind, arguments):
    """A metric of gpunet; skipped if it is the mean of a loss that is not there."""
    cls = getattr(metrics, kind)
    try:
        return cls(**arguments)
    except ArgumentError as error:
        if "Unknown loss" in str(error):
            pytest.skip(str(error))
        raise


def batches(entry):
    labels, predictions = (np.array(a) for a in GOLDEN["data"][entry["data"]])
    edges = np.cumsum([0, *GOLDEN["rows"]])
    for start, end in itertools.pairwise(edges):
        part = slice(start, end)
        yield labels[part], predictions[part].astype(np.float32), GOLDEN["weights"][part]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("entry", VALUES)
def test_numbers_of_keras(entry, weighted):
    metric = make(entry["metric"], entry["arguments"])
    wanted = entry["weighted" if weighted else "result"]
    for _ in range(2):  # again after a reset
        for labels, predictions, weights in batches(entry):
            metric.update_state(labels, predictions, weights if weighted else None)
        np.testing.assert_allclose(metric.result(), wanted, rtol=2e-5, atol=2e-6)
        metric.reset_state()


@pytest.mark.parametrize("entry", VALUES)
def test_config_makes_an_equal_metric(entry):
    metric = make(entry["metric"], {**entry["arguments"], "name": "mine"})
    config = metric.get_config()
    json.dumps(config)
    again = type(metric).from_config(config)
    assert again.name == "mine"
    assert again.get_config() == config
    results = []
    for m in (metric, again):
        for labels, predictions, weights in batches(entry):
            m.update_state(labels, predictions, weights)
        results.append(m.result())
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("kind", sorted(GOLDEN["signatures"]))
def test_constructors_of_keras(kind):
    """The same arguments in the same order with the same defaults; a name may also be None."""
    wanted = GOLDEN["signatures"][kind]
    signature = inspect.signature(getattr(metrics, kind))
    ours = [
        [p.name, p.default if p.default is not p.empty else "required"]
        for p in signature.parameters.values()
    ]
    assert [name for name, _ in ours] == [name for name, _ in wanted]
    for (name, default), (_, theirs) in zip(ours, wanted, strict=True):
        if name != "name":
            theirs = tuple(theirs) if isinstance(theirs, list) else theirs
            assert default == theirs, name


@pytest.mark.parametrize("kind", sorted(GOLDEN["names"]))
def test_names_of_keras(kind):
    entry = next(e for e in GOLDEN["values"] if e["metric"] == kind)
    assert make(kind, entry["arguments"]).name == GOLDEN["names"][kind]
    try:
        assert type(metrics.get(GOLDEN["names"][kind])).__name__ in (kind, "AccuracyByShape")
    except ArgumentError as error:
        assert "needs arguments" in str(error)  # noqa: PT017 (names of metrics with arguments)
        assert "IoU" in kind


def test_calling_adds_a_batch():
    metric = metrics.Precision()
    assert metric.result() == 0.0
    assert metric([0, 1, 1, 1], [1, 0, 1, 1]) == pytest.approx(2 / 3)
    assert metric([0, 0], [1, 1]) == pytest.approx(2 / 5)
    metric.reset_state()
    assert metric.result() == 0.0


def test_mean_and_sum():
    assert metrics.Mean()([1, 3, 5, 7]) == 4.0
    assert metrics.Mean()([[1, 3], [5, 7]], sample_weight=[1, 0]) == 2.0
    assert metrics.Sum()([1, 3, 5, 7], sample_weight=[1, 1, 0, 0]) == 4.0
    assert metrics.Sum()([[1, 3], [5, 7]], sample_weight=[2, 0]) == 8.0
    assert metrics.Mean()(5.0) == 5.0
    assert metrics.Mean().result() == metrics.Sum().result() == 0.0
    mean = metrics.Mean()
    mean.update_state([1.0, np.nan])
    assert np.isnan(mean.result())
    with pytest.raises(ShapeError, match="the values' first axes"):
        metrics.Mean()([1, 2, 3], sample_weight=[1, 2])


def test_any_loss_is_a_metric():
    y, x = [[0.0], [1.0]], [[0.5], [0.0]]
    for identifier in (
        losses.MeanSquaredError(),
        losses.MeanSquaredError,
        losses.mean_squared_error,
    ):
        assert metrics.get(identifier)(y, x) == 0.625
    assert metrics.MeanMetricWrapper("mse", name="error").name == "error"
    metric = metrics.MeanMetricWrapper(losses.BinaryCrossentropy(from_logits=True))
    again = metrics.MeanMetricWrapper.from_config(metric.get_config())
    assert again.loss.from_logits
    assert again(y, x) == metric(y, x)


def test_a_bad_prediction_makes_a_mean_nan_but_no_count():
    y, x = [[1.0], [0.0]], [[np.nan], [0.2]]
    assert np.isnan(metrics.MeanSquaredError()(y, x))
    assert np.isnan(metrics.R2Score()(y, x))
    assert metrics.Recall()(y, x) == 0.0
    assert metrics.FalseNegatives()(y, x) == 1.0
    assert metrics.BinaryAccuracy()(y, x) == 0.5


def test_outputs_outside_of_0_and_1():
    """The first and last threshold of an AUC lie beyond all numbers."""
    auc = metrics.AUC(num_thresholds=5)
    assert auc([0, 1], [-3.0, 4.0]) == 1.0


def test_a_single_weight_and_weights_in_a_column():
    metric = metrics.CategoricalAccuracy()
    assert metric([[0, 1], [1, 0]], [[0.1, 0.9], [0.2, 0.8]], [[3.0], [1.0]]) == 0.75
    assert metrics.Sum()([1.0]) == 1.0
    assert metrics.TruePositives()([1, 1], [0.9, 0.8], 2.0) == 4.0


def test_segmentation():
    """Scores (batch, height, width, classes), labels with a class that does not count."""
    rng = np.random.default_rng(3)
    scores, labels = rng.uniform(size=(2, 4, 5, 3)), rng.integers(0, 3, (2, 4, 5))
    labels[0, 0] = 255
    metric = metrics.MeanIoU(3, sparse_y_pred=False, ignore_class=255)
    predicted = scores.argmax(-1)
    counted = labels < 3
    common = [np.sum((labels == c) & (predicted == c)) for c in range(3)]
    union = [np.sum(((labels == c) | (predicted == c)) & counted) for c in range(3)]
    wanted = np.mean(np.array(common) / np.array(union))
    assert metric(labels, scores) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("precison", "'precision'"), ("AUCC", "'auc'"), ("mean_squred_error", "mean_sq")],
)
def test_unknown_names_get_a_suggestion(name, hint):
    with pytest.raises(ArgumentError, match=f"Unknown metric '{name}': did you mean '?{hint}"):
        metrics.get(name)


@pytest.mark.parametrize(
    ("kind", "arguments", "said"),
    [
        ("Precision", {"thresholds": 1.5}, "thresholds from 0 to 1, got 1.5"),
        ("Precision", {"thresholds": "half"}, "thresholds from 0 to 1, got 'half'"),
        ("Recall", {"top_k": 0}, "positive integer for top_k, got 0"),
        ("Recall", {"class_id": -1}, "class_id, got -1"),
        ("AUC", {"num_thresholds": 1}, "at least 2 thresholds, got 1"),
        ("AUC", {"curve": "DET"}, "curves ROC, PR, PRGAIN, got 'DET'"),
        ("AUC", {"summation_method": "simpson"}, "got 'simpson'"),
        ("AUC", {"label_weights": [1.0]}, "only with multi_label=True"),
        ("F1Score", {"average": "mean"}, "averages None, micro, macro and weighted, got 'mean'"),
        ("F1Score", {"threshold": 2.0}, "got 2.0"),
        ("FBetaScore", {"beta": 2}, "positive float beta, got 2"),
        ("TopKCategoricalAccuracy", {"k": 0}, "positive integer for k, got 0"),
        ("SparseTopKCategoricalAccuracy", {"from_sorted_ids": True}, "not available"),
        ("BinaryAccuracy", {"threshold": None}, "a number as threshold, got None"),
        ("MeanIoU", {"num_classes": 0}, "num_classes, got 0"),
        ("MeanIoU", {"num_classes": 2, "axis": 1}, "axis must be -1"),
        ("IoU", {"num_classes": 2, "target_class_ids": [2]}, "classes 0 to 1"),
        ("BinaryIoU", {"target_class_ids": [2]}, "classes 0 and 1"),
        ("R2Score", {"class_aggregation": "mean"}, "got 'mean'"),
        ("R2Score", {"num_regressors": -1}, "got -1"),
        ("CategoricalCrossentropy", {"axis": 1}, "axis cannot be changed|axis"),
        ("MeanMetricWrapper", {"fn": "nothing"}, "Unknown loss 'nothing'"),
    ],
)
def test_wrong_arguments(kind, arguments, said):
    with pytest.raises(ArgumentError, match=said):
        getattr(metrics, kind)(**arguments)


MODULES = ("accuracy", "base", "confusion", "f_score", "overlap", "probabilistic", "reduction")


@pytest.mark.parametrize("module", [*MODULES, "regression", "__init__"])
def test_examples(module):
    name = "gpunet.metrics" if module == "__init__" else f"gpunet.metrics.{module}"
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_every_metric_has_a_name_for_compile():
    for kind in GOLDEN["names"]:
        with contextlib.suppress(ArgumentError):
            assert isinstance(metrics.get(getattr(metrics, kind)), metrics.Metric)
        assert any(kind.lower() == name.replace("_", "") for name in metrics._METRICS), kind


def test_what_is_no_metric():
    with pytest.raises(ArgumentError, match="a metric must be a name such as 'accuracy'"):
        metrics.get(3)
    with pytest.raises(ArgumentError, match=r"subclass gpunet\.metrics\.Metric"):
        metrics.get(lambda y_true, y_pred: 0.0)
    with pytest.raises(ArgumentError, match=r"needs arguments: give compile an object, .*MeanIoU"):
        metrics.get("mean_io_u")
    with pytest.raises(ArgumentError, match="needs arguments"):
        metrics.get(metrics.IoU)


@pytest.mark.parametrize(
    ("metric", "y", "x", "error", "said"),
    [
        (metrics.Precision(), [[1, 0]], [[0.1, 0.2, 0.7]], ShapeError, "shape of the outputs"),
        (metrics.Precision(top_k=4), [[1, 0]], [[0.1, 0.2]], ArgumentError, "there are 2 outputs"),
        (metrics.Precision(class_id=2), [[1, 0]], [[0.1, 0.2]], ArgumentError, "are 2 outputs"),
        (metrics.Precision(), [0, 1], [0.5], ShapeError, "y_true has 2, y_pred has 1"),
        (metrics.Precision(), ["a"], [0.5], DtypeError, "array of numbers"),
        (metrics.Precision(), 1, 0.5, ShapeError, "the single number 0.5"),
        (metrics.CategoricalAccuracy(), [[1]], [[0.5]], ArgumentError, "'binary_accuracy'"),
        (metrics.SparseCategoricalAccuracy(), [5], [[0.5, 0.5]], ArgumentError, "from 0 to 1"),
        (metrics.MeanIoU(3), [[0, 1]], [[0], [1], [2]], ShapeError, "y_true has 1"),
        (metrics.MeanIoU(3, sparse_y_pred=False), [0], [[0.1, 0.9]], ArgumentError, "2 outputs"),
        (metrics.OneHotMeanIoU(2), [0, 1], [[0.1, 0.9], [1, 0]], ArgumentError, "sparse_y_true"),
    ],
)
def test_arrays_that_do_not_fit(metric, y, x, error, said):
    with pytest.raises(error, match=said):
        metric.update_state(y, x)


def test_another_number_of_outputs_than_before():
    metric = metrics.R2Score()
    metric.update_state([[1.0, 2.0]], [[1.0, 2.0]])
    with pytest.raises(ShapeError, match="op moments"):
        metric.update_state([[1.0]], [[1.0]])


def test_no_adjustment_without_enough_numbers():
    metric = metrics.R2Score(num_regressors=5)
    metric.update_state([[1.0], [2.0]], [[1.0], [2.0]])
    with pytest.warns(UserWarning, match="cannot adjust for 5 regressors with 2 numbers"):
        assert metric.result() == 1.0


def test_large_numbers_with_a_small_variance():
    """Sums of squares cancel; in float64 enough is left."""
    rng = np.random.default_rng(1)
    y = (1000 + rng.standard_normal((500, 1))).astype(np.float32)
    x = (y + 0.1 * rng.standard_normal(y.shape)).astype(np.float32)
    wanted = 1 - np.sum((y - x).astype(float) ** 2) / np.sum((y - y.mean(dtype=float)) ** 2)
    assert metrics.R2Score()(y, x) == pytest.approx(wanted, rel=1e-5)
