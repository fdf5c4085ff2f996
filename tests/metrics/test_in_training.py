"""Metrics in compile: History, evaluate, both devices, sample weights, and when they are read."""

import numpy as np
import pytest

from gpunet import Sequential, callbacks, layers, losses, metrics, optimizers
from gpunet.engine.steps import TEST, TRAIN, StepPlan
from gpunet.errors import ArgumentError
from gpunet.testing import compare

RNG = np.random.default_rng(5)
ROWS = 53
X = RNG.standard_normal((ROWS, 6)).astype(np.float32)
CLASSES = RNG.integers(0, 3, ROWS)
ONE_HOT = np.eye(3, dtype=np.float32)[CLASSES]
BITS = (CLASSES > 0).astype(np.float32)[:, None]
NUMBERS = X[:, :2] * 2 + RNG.standard_normal((ROWS, 2)).astype(np.float32)
WEIGHTS = RNG.uniform(0.2, 2.0, ROWS).astype(np.float32)

# what is learnt -> (outputs, last activation, loss, labels, metrics)
TASKS = {
    "classes": (
        3,
        "softmax",
        "sparse_categorical_crossentropy",
        CLASSES,
        [
            "accuracy",
            "sparse_categorical_accuracy",
            metrics.SparseTopKCategoricalAccuracy(k=2),
            "sparse_categorical_crossentropy",
            metrics.MeanIoU(3, sparse_y_pred=False),
            metrics.F1Score(),
            metrics.Precision(top_k=1),
            metrics.AUC(num_thresholds=11, multi_label=True),
        ],
    ),
    "one-hot": (
        3,
        "softmax",
        "categorical_crossentropy",
        ONE_HOT,
        [
            "acc",
            "categorical_accuracy",
            metrics.TopKCategoricalAccuracy(k=2),
            metrics.CategoricalCrossentropy,
            metrics.OneHotMeanIoU(3),
            metrics.F1Score(average="macro", threshold=0.4),
            metrics.Recall(class_id=1),
            "binary_accuracy",
        ],
    ),
    "bits": (
        1,
        "sigmoid",
        "binary_crossentropy",
        BITS,
        [
            "accuracy",
            "auc",
            metrics.Precision(thresholds=[0.2, 0.5]),
            "true_positives",
            "false_negatives",
            metrics.BinaryIoU(),
            losses.MeanSquaredError,
        ],
    ),
    "numbers": (2, "linear", "mse", NUMBERS, ["mse", "root_mean_squared_error", "r2_score"]),
}


def make(task, backend="numpy", weighted=False):
    outputs, activation, loss, _, chosen = TASKS[task]
    model = Sequential([layers.Dense(outputs, activation, input_dim=6)])
    model.set_weights([np.linspace(-1, 1, w.size).reshape(w.shape) for w in model.get_weights()])
    model.compile(
        optimizers.SGD(0.05),
        loss,
        metrics=None if weighted else chosen,
        weighted_metrics=chosen if weighted else None,
    )
    model.to(backend)
    return model


def assert_same(ours, theirs, tolerance=1e-6):
    assert list(ours) == list(theirs)
    for name, values in ours.items():
        np.testing.assert_allclose(
            values, theirs[name], rtol=tolerance, atol=tolerance, err_msg=name
        )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_evaluate_gives_what_the_metrics_give_alone(task, weighted):
    model, y = make(task, weighted=weighted), TASKS[task][3]
    weights = WEIGHTS if weighted else None
    results = model.evaluate(
        X, y, batch_size=10, verbose=0, sample_weight=weights, return_dict=True
    )
    outputs = model.predict(X, verbose=0)
    for name, metric in zip(model.metric_names[1:], model.metrics, strict=True):
        metric.reset_state()
        if name in ("accuracy", "acc") and outputs.shape[1] == 1:
            metric = metrics.BinaryAccuracy()
        wanted = metric(y, outputs, weights)
        np.testing.assert_allclose(results[name], wanted, rtol=2e-5, atol=1e-6, err_msg=name)
    values = model.evaluate(X, y, batch_size=10, verbose=0, sample_weight=weights)
    for name, value in zip(model.metric_names, values, strict=True):
        np.testing.assert_array_equal(value, results[name])


@pytest.mark.emulator
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_both_devices_agree(task, weighted):
    """Through fit, with a last batch of another size, and in evaluate."""
    y, weights = TASKS[task][3], WEIGHTS if weighted else None
    results = []
    for backend in ("numpy", "emulator"):
        model = make(task, backend, weighted)
        fit = model.fit(X, y, 16, 2, 0, sample_weight=weights, shuffle=False)
        again = model.evaluate(X, y, 20, 0, weights, return_dict=True)
        results.append(fit.history | {f"again_{name}": value for name, value in again.items()})
    assert_same(*results, 2e-5)


@pytest.mark.emulator
@pytest.mark.parametrize("task", TASKS)
def test_lockstep(task):
    assert compare(make(task), "numpy", "emulator", X, TASKS[task][3]).ok


@pytest.mark.parametrize("task", TASKS)
def test_each_epoch_starts_anew(task):
    """Without learning each epoch has the values of a single one, in validation, too."""
    y = TASKS[task][3]
    model = make(task)
    model.optimizer.learning_rate = 0.0
    history = model.fit(X, y, 10, 3, 0, validation_data=(X, y), shuffle=False).history
    once = model.evaluate(X, y, 10, 0, return_dict=True)
    for name, value in once.items():
        for key in (name, f"val_{name}"):
            assert len(history[key]) == 3
            for epoch in history[key]:
                np.testing.assert_allclose(epoch, value, rtol=1e-6)


def test_names_in_history_and_order_in_evaluate():
    model = make("one-hot")
    model.compile(
        "sgd",
        "categorical_crossentropy",
        metrics=["acc", metrics.Precision(), metrics.Precision(thresholds=0.7), "AUC"],
        weighted_metrics=["acc", "mse"],
    )
    names = ["loss", "acc", "precision", "precision_1", "AUC", "weighted_acc", "mse"]
    assert model.metric_names == names
    history = model.fit(X, ONE_HOT, verbose=0, sample_weight=WEIGHTS).history
    assert sorted(history) == sorted(names)
    values = model.evaluate(X, ONE_HOT, verbose=0, sample_weight=WEIGHTS)
    named = model.evaluate(X, ONE_HOT, verbose=0, sample_weight=WEIGHTS, return_dict=True)
    assert values == [named[name] for name in names]
    assert named["acc"] != named["weighted_acc"]


def test_class_weights_count_in_weighted_metrics_alone():
    model = make("classes")
    model.compile(
        optimizers.SGD(0.0),
        "sparse_categorical_crossentropy",
        metrics=["acc"],
        weighted_metrics=["acc"],
    )
    history = model.fit(X, CLASSES, verbose=0, class_weight={0: 5.0}).history
    right = model.predict(X, verbose=0).argmax(1) == CLASSES
    weight = np.where(CLASSES == 0, 5.0, 1.0)
    assert history["acc"][0] == pytest.approx(right.mean())
    assert history["weighted_acc"][0] == pytest.approx((weight @ right) / weight.sum())


def test_single_batches_start_anew():
    model = make("classes")
    first = model.test_on_batch(X[:20], CLASSES[:20], return_dict=True)
    model.test_on_batch(X[20:], CLASSES[20:])
    again = model.test_on_batch(X[:20], CLASSES[:20], return_dict=True)
    assert_same(first, again)
    evaluated = model.evaluate(X[:20], CLASSES[:20], 20, 0, return_dict=True)
    assert_same(dict(sorted(first.items())), evaluated)


def counted(monkeypatch, model):
    """A list that grows with each copy to the host."""
    copies = []
    to_numpy = type(model.backend).to_numpy

    def count(self, array):
        copies.append(array)
        return to_numpy(self, array)

    monkeypatch.setattr(type(model.backend), "to_numpy", count)
    return copies


def test_nothing_is_read_within_an_epoch(monkeypatch):
    model = make("bits")
    copies = counted(monkeypatch, model)
    model.fit(X, BITS, batch_size=4, epochs=3, verbose=0)
    assert len(copies) == 3  # the values of each epoch, all at once
    del copies[:]
    model.evaluate(X, BITS, batch_size=4, verbose=0)
    assert len(copies) == 1


def test_a_refresh_reads_all_values_at_once(monkeypatch):
    model = make("bits")
    copies = counted(monkeypatch, model)

    class Refresh(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch % 5 == 0:
                assert list(dict(logs)) == sorted(model.metric_names)

    model.fit(X, BITS, batch_size=4, epochs=1, verbose=0, callbacks=[Refresh()])
    assert len(copies) == 3 + 1  # steps 0, 5 and 10 of 14, and the end


def test_values_after_each_batch_are_those_so_far():
    model = make("classes")
    seen = []

    class Look(callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            seen.append(logs["accuracy"])

    model.evaluate(X, CLASSES, 10, 0, callbacks=[Look()])
    right = model.predict(X, verbose=0).argmax(1) == CLASSES
    np.testing.assert_allclose(seen, [right[: 10 * (k + 1)].mean() for k in range(6)], rtol=1e-6)


def ops_of(model, mode, y, weights=None):
    model.prepare(X)
    samples = model.samples(X, y, weights)
    return [record.op.name for record in StepPlan(model, mode, 10, samples).plan.records]


@pytest.mark.parametrize(
    "name", ["accuracy", "categorical_accuracy", "sparse_categorical_accuracy"]
)
def test_the_loss_counts_an_accuracy_in_its_own_launch(name):
    model = make("classes")
    model.compile("sgd", "sparse_categorical_crossentropy")
    launches = {mode: ops_of(model, mode, CLASSES) for mode in (TRAIN, TEST)}
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[name])
    for mode, ops in launches.items():
        assert ops_of(model, mode, CLASSES) == ops
    model.compile("sgd", "sparse_categorical_crossentropy", weighted_metrics=[name])
    assert ops_of(model, TEST, CLASSES) == launches[TEST]  # no weights are given
    weighted = ops_of(model, TEST, CLASSES, WEIGHTS)  # one gather and one launch more
    assert [op for op in weighted if op != "gather"][-1] == "weighted_totals"
    assert len(weighted) == len(launches[TEST]) + 2


def test_metrics_do_not_change_what_is_learnt():
    """A loss after a sigmoid or softmax stays one of logits, whoever reads the probabilities."""
    for task, y in (("bits", BITS), ("one-hot", ONE_HOT)):
        outcomes = []
        for with_metrics in (False, True):
            model = make(task)
            if not with_metrics:
                model.compile(optimizers.SGD(0.05), TASKS[task][2])
            model.fit(100 * X, y, epochs=2, verbose=0, shuffle=False)
            outcomes.append(model.get_weights())
        for ours, theirs in zip(*outcomes, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("mse", "'mse' takes labels of the outputs' shape, got class numbers"),
        ("categorical_crossentropy", "to_categorical"),
        (metrics.Accuracy(), "metrics=\\['accuracy'\\], in quotes"),
        (metrics.MeanIoU(4, sparse_y_pred=False), "num_classes=4, but there are 3 outputs"),
        (metrics.MeanIoU(3), "30 predictions|159 predictions|96 predictions"),
        (metrics.Precision(class_id=3), "there are 3 outputs"),
        (metrics.Mean(), "takes values, not labels and predictions"),
    ],
)
def test_a_metric_that_does_not_fit_is_refused_before_anything_changes(metric, said):
    model = make("classes")
    before = model.get_weights()
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[metric])
    with pytest.raises(ArgumentError, match=said):
        model.fit(X, CLASSES, verbose=0)
    for ours, theirs in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_class_numbers_for_one_hot_labels_are_refused():
    model = make("one-hot")
    model.compile("sgd", "categorical_crossentropy", metrics=["sparse_categorical_crossentropy"])
    with pytest.raises(ArgumentError, match="takes class numbers, but the labels have"):
        model.fit(X, ONE_HOT, verbose=0)


def test_what_compile_refuses():
    model = make("numbers")
    with pytest.raises(ArgumentError, match="Unknown metric 'acuracy': did you mean 'accuracy'"):
        model.compile("sgd", "mse", metrics=["acuracy"])
    with pytest.raises(ArgumentError, match="a list of metrics, got 'mse'"):
        model.compile("sgd", "mse", metrics="mse")
    with pytest.raises(ArgumentError, match="a list of weighted_metrics, got 'mse'"):
        model.compile("sgd", "mse", weighted_metrics="mse")


class Largest(metrics.MeanOfRows):
    """A metric of one's own: how often the first output is the largest."""

    name = "first"

    def record_rows(self, op, rows, totals, x, labels):
        largest = op.scratch((x.shape[0], 1))
        op.argmax(largest.reshape(-1), x)
        zeros = op.scratch((x.shape[0], 1))
        op.fill(zeros, value=0.0)
        op.matches(rows, largest, zeros)


def test_a_metric_of_ones_own():
    model = make("classes")
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[Largest])
    outputs = model.predict(X, verbose=0)
    wanted = (outputs.argmax(1) == 0).mean()
    assert model.evaluate(X, CLASSES, 10, 0)[1] == pytest.approx(wanted)
    assert Largest()(CLASSES, outputs) == pytest.approx(wanted)


def test_outputs_with_several_rows_a_sample():
    """Segmentation: (height, width, classes); a sample's weight counts for each of its pixels."""
    stack = [layers.Dense(12, input_dim=6), layers.Reshape((2, 2, 3)), layers.Activation("softmax")]
    model, y = Sequential(stack), RNG.integers(0, 3, (ROWS, 2, 2))
    overlap = metrics.MeanIoU(3, sparse_y_pred=False)
    model.compile(
        "sgd", "sparse_categorical_crossentropy", metrics=[overlap, "acc"], weighted_metrics=["acc"]
    )
    results = model.evaluate(X, y, 10, 0, WEIGHTS, return_dict=True)
    outputs = model.predict(X, verbose=0)
    right = outputs.argmax(-1) == y
    assert results["mean_io_u"] == pytest.approx(overlap(y, outputs))
    assert results["acc"] == pytest.approx(right.mean())
    weighted = np.average(right.mean(axis=(1, 2)), weights=WEIGHTS)
    assert results["weighted_acc"] == pytest.approx(weighted, rel=1e-5)
