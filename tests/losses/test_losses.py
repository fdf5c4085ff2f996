"""Losses as objects: reductions, labels, configs, training with each, and what is refused."""

import doctest
import importlib
import inspect
import warnings

import numpy as np
import pytest

from gpunet import Sequential, losses, optimizers
from gpunet.backend import backend_named
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers import Activation, Dense, Reshape
from gpunet.testing import compare

RNG = np.random.default_rng(3)
ROWS = 7
X = RNG.standard_normal((ROWS, 4))
ONE_HOT = np.eye(3)[RNG.integers(0, 3, ROWS)]
CLASSES = RNG.integers(0, 3, ROWS)
SOME_IGNORED = np.where(np.arange(ROWS) % 3 == 1, -1, CLASSES)
BITS = RNG.integers(0, 2, (ROWS, 3)).astype(float)
NUMBERS = RNG.standard_normal((ROWS, 3))
POSITIVE = RNG.uniform(0.2, 3.0, (ROWS, 3))
WEIGHTS = np.array([0.5, 2.0, 0.25, 0.0, 1.0, 1.75, 3.0])

# (loss, activation of the last layer, targets): every class, most with arguments of their own.
CASES = [
    (losses.CategoricalCrossentropy(label_smoothing=0.1), "softmax", ONE_HOT),
    (losses.CategoricalCrossentropy(label_smoothing=0.1), "sigmoid", ONE_HOT),
    (losses.CategoricalCrossentropy(True, 0.1), "linear", ONE_HOT),
    (losses.SparseCategoricalCrossentropy(ignore_class=-1), "softmax", SOME_IGNORED),
    (losses.SparseCategoricalCrossentropy(True, ignore_class=-1), "linear", SOME_IGNORED),
    (losses.SparseCategoricalCrossentropy(True, ignore_class=2), "linear", CLASSES),
    (losses.BinaryCrossentropy(label_smoothing=0.2), "sigmoid", BITS),
    (losses.BinaryCrossentropy(True, 0.2), "linear", BITS),
    (losses.CategoricalFocalCrossentropy(), "softmax", ONE_HOT),
    (losses.CategoricalFocalCrossentropy(0.5, 1.5), "sigmoid", ONE_HOT),
    (losses.CategoricalFocalCrossentropy([0.5, 0.25, 0.75]), "softmax", ONE_HOT),
    (losses.CategoricalFocalCrossentropy(from_logits=True), "linear", ONE_HOT),
    (losses.BinaryFocalCrossentropy(True), "sigmoid", BITS),
    (losses.BinaryFocalCrossentropy(gamma=1.5), "softmax", BITS),
    (losses.BinaryFocalCrossentropy(from_logits=True), "linear", BITS),
    (losses.KLDivergence(), "softmax", ONE_HOT),
    (losses.Poisson(), "sigmoid", POSITIVE),
    (losses.MeanSquaredError(), "linear", NUMBERS),
    (losses.MeanAbsoluteError(), "linear", NUMBERS),
    (losses.MeanAbsolutePercentageError(), "linear", POSITIVE),
    (losses.MeanSquaredLogarithmicError(), "sigmoid", POSITIVE),
    (losses.Huber(0.5), "linear", NUMBERS),
    (losses.LogCosh(), "linear", NUMBERS),
    (losses.CosineSimilarity(), "linear", NUMBERS),
    (losses.Hinge(), "tanh", BITS),
    (losses.SquaredHinge(), "tanh", 2 * BITS - 1),
    (losses.CategoricalHinge(), "linear", ONE_HOT),
    (losses.Dice(), "sigmoid", BITS),
    (losses.Dice(axis=-1), "sigmoid", BITS),
    (losses.Tversky(0.3, 0.8, axis=-1), "sigmoid", BITS),
    (losses.Tversky(0.3, 0.8), "softmax", ONE_HOT),
]
IDS = [f"{type(loss).__name__}-{end}-{i}" for i, (loss, end, _) in enumerate(CASES)]
ALL = sorted({type(loss) for loss, _, _ in CASES}, key=lambda loss: loss.__name__)


def with_reduction(loss, reduction):
    return type(loss).from_config({**loss.get_config(), "reduction": reduction})


def small_model(end, loss, dtype="float64"):
    model = Sequential([Dense(5, "tanh", input_dim=4), Dense(3, end)])
    model.compile(optimizers.SGD(1.0), loss)
    model.to(dtype=dtype)
    return model


def slopes_match(model, y, weights, elements=4, step=1e-6):
    """A step of SGD against central differences of the loss that test_on_batch reports."""
    before = model.get_weights()
    slopes = {}
    for number, values in enumerate(before):
        for i in np.random.default_rng(5).permutation(values.size)[:elements]:
            ends = []
            for shift in (step, -step):
                moved = [w.copy() for w in before]
                moved[number].flat[i] += shift
                model.set_weights(moved)
                ends.append(model.test_on_batch(X, y, weights))
            slopes[number, i] = (ends[0] - ends[1]) / (2 * step)
    model.set_weights(before)
    model.train_on_batch(X, y, weights)
    after = model.get_weights()
    for (number, i), slope in slopes.items():
        change = before[number].flat[i] - after[number].flat[i]
        assert change == pytest.approx(slope, abs=1e-7, rel=1e-5)


@pytest.mark.parametrize(("loss", "end", "y"), CASES, ids=IDS)
def test_a_step_goes_down_the_slope(loss, end, y):
    slopes_match(small_model(end, loss), y, None)


@pytest.mark.parametrize("reduction", ["sum", "mean_with_sample_weight"])
@pytest.mark.parametrize(("loss", "end", "y"), CASES, ids=IDS)
def test_a_step_goes_down_the_slope_of_other_reductions(loss, end, y, reduction):
    weighted = not isinstance(loss, losses.Dice | losses.Tversky) or loss.axis == -1
    model = small_model(end, with_reduction(loss, reduction))
    slopes_match(model, y, WEIGHTS if weighted else None, elements=2)


@pytest.mark.parametrize(("loss", "end", "y"), CASES, ids=IDS)
def test_the_model_reports_what_a_call_gives(loss, end, y):
    for reduction in ("sum_over_batch_size", "sum"):
        reduced = with_reduction(loss, reduction)
        model = small_model(end, reduced)
        assert model.test_on_batch(X, y) == pytest.approx(reduced(y, model.predict(X)), rel=1e-10)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
@pytest.mark.parametrize(
    ("loss", "y"),
    [
        (losses.MeanSquaredError(), NUMBERS),
        (losses.SparseCategoricalCrossentropy(True, ignore_class=-1), SOME_IGNORED),
    ],
)
def test_several_batches_are_weighted_by_their_size_as_in_keras(loss, y, reduction):
    reduced = with_reduction(loss, reduction)
    model = small_model("linear", reduced)
    out = model.predict(X)
    parts = [slice(0, 4), slice(4, 7)]
    each = [reduced(y[part], out[part], WEIGHTS[part]) for part in parts]
    wanted = (4 * each[0] + 3 * each[1]) / 7
    shown = model.evaluate(X, y, batch_size=4, sample_weight=WEIGHTS, verbose=0)
    assert shown == pytest.approx(wanted, rel=1e-10)


def test_one_loss_for_the_whole_batch_is_weighted_by_its_size():
    loss = losses.Dice()
    model = small_model("sigmoid", loss)
    out = model.predict(X)
    wanted = (4 * loss(BITS[:4], out[:4]) + 3 * loss(BITS[4:], out[4:])) / 7
    assert model.evaluate(X, BITS, batch_size=4, verbose=0) == pytest.approx(wanted, rel=1e-10)


# Keras 3.15 on PyTorch in float64: three epochs of fit on 50 samples in batches of 16.
HISTORIES = [
    (
        losses.CategoricalCrossentropy(label_smoothing=0.1, reduction="sum"),
        "softmax",
        True,
        [19.462839, 18.684966, 18.58038],
    ),
    (
        losses.SparseCategoricalCrossentropy(ignore_class=-1),
        "softmax",
        False,
        [1.1574045, 1.1486157, 1.1416669],
    ),
    (
        losses.SparseCategoricalCrossentropy(ignore_class=-1, reduction="mean_with_sample_weight"),
        "softmax",
        True,
        [1.1568032, 1.1394197, 1.1261528],
    ),
    (
        losses.MeanAbsoluteError(reduction="mean_with_sample_weight"),
        "linear",
        True,
        [1.1177561, 1.0698634, 1.0225371],
    ),
    (losses.Dice(), "sigmoid", False, [0.59826756, 0.59784941, 0.59743426]),
    (losses.Hinge(), "tanh", False, [1.0159167, 1.0131863, 1.0103833]),
    (losses.BinaryFocalCrossentropy(), "sigmoid", True, [0.50813009, 0.48385384, 0.46119014]),
]


@pytest.mark.parametrize(("loss", "end", "weighted", "wanted"), HISTORIES)
def test_fit_reports_what_keras_does(loss, end, weighted, wanted):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((50, 4)), np.eye(3)[rng.integers(0, 3, 50)]
    weights = rng.integers(0, 5, 50) / 2 if weighted else None
    if loss.sparse:
        y = np.where(np.arange(50) % 4 == 0, -1, y.argmax(axis=1))
    model = Sequential([Dense(3, end, input_dim=4)])
    model.compile(optimizers.SGD(0.05), loss)
    model.to(dtype="float64")
    model.set_weights([np.linspace(-1, 1, 12).reshape(4, 3), np.zeros(3)])
    fit = model.fit(x, y, batch_size=16, epochs=3, shuffle=False, verbose=0, sample_weight=weights)
    assert fit.history["loss"] == pytest.approx(wanted, rel=1e-7)


def test_a_batch_of_nothing_but_ignored_rows():
    loss = losses.SparseCategoricalCrossentropy(True, ignore_class=-1)
    model = small_model("linear", loss)
    before = model.get_weights()
    assert model.train_on_batch(X, np.full(ROWS, -1)) == 0.0
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert loss(np.full(ROWS, -1), NUMBERS) == 0.0


@pytest.mark.emulator
@pytest.mark.parametrize(("loss", "end", "y"), CASES, ids=IDS)
def test_the_devices_agree(loss, end, y):
    for reduction in ("sum_over_batch_size", "mean_with_sample_weight"):
        model = small_model(end, with_reduction(loss, reduction), "float32")
        assert compare(model, "numpy", "emulator", X.astype(np.float32), y).ok


# --------------------------------------------------------------- images and other shapes


@pytest.mark.parametrize(
    ("loss", "end"),
    [
        (losses.Dice(axis=(1, 2)), "sigmoid"),
        (losses.Tversky(0.3, 0.7, axis=(-1, -2)), "sigmoid"),
        (losses.Dice(axis=1), "sigmoid"),
        (losses.MeanAbsoluteError(), "linear"),
        (losses.CategoricalFocalCrossentropy(), "softmax"),
    ],
)
def test_outputs_of_higher_rank(loss, end):
    model = Sequential([Dense(6, input_dim=4), Reshape((2, 3)), Activation(end)])
    model.compile(optimizers.SGD(1.0), loss)
    model.to(dtype="float64")
    y = np.random.default_rng(2).dirichlet(np.ones(3), (ROWS, 2))
    slopes_match(model, y, WEIGHTS)
    assert model.test_on_batch(X, y) == pytest.approx(loss(y, model.predict(X)), rel=1e-10)


def test_masks_of_four_axes_sum_over_any_neighbours():
    x, y = RNG.uniform(0.1, 0.9, (4, 3, 2, 5)), RNG.integers(0, 2, (4, 3, 2, 5))
    for axis in ((1, 2, 3), (1, 2), (2,), 3, (0, 1, 2), None, (0,)):
        sums = [np.sum(part, axis=axis) for part in (x * y, x, y)]
        wanted = 1 - 2 * sums[0] / (sums[1] + sums[2] + 1e-7)
        np.testing.assert_allclose(losses.dice(y, x, axis), wanted, rtol=1e-12)


# ------------------------------------------------------------------- names and configs


@pytest.mark.parametrize(("loss", "end", "y"), CASES, ids=IDS)
def test_config_round_trip(loss, end, y):
    again = losses.deserialize(losses.serialize(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
    prediction = np.full((ROWS, 3), 0.3)
    assert again(y, prediction) == loss(y, prediction)


@pytest.mark.parametrize("loss", ALL)
def test_the_config_is_the_constructors_arguments(loss):
    arguments = {name for name in inspect.signature(loss).parameters if name != "dtype"}
    assert set(loss().get_config()) == arguments
    named = loss.from_config({**loss().get_config(), "name": "mine", "reduction": "sum"})
    assert (named.name, named.reduction) == ("mine", "sum")


@pytest.mark.parametrize(
    ("name", "loss"),
    {
        "mse": losses.MeanSquaredError,
        "MSE": losses.MeanSquaredError,
        "mae": losses.MeanAbsoluteError,
        "MAPE": losses.MeanAbsolutePercentageError,
        "msle": losses.MeanSquaredLogarithmicError,
        "bce": losses.BinaryCrossentropy,
        "KLD": losses.KLDivergence,
        "huber": losses.Huber,
        "log_cosh": losses.LogCosh,
        "logcosh": losses.LogCosh,
        "cosine_similarity": losses.CosineSimilarity,
        "CategoricalHinge": losses.CategoricalHinge,
        "tversky": losses.Tversky,
    }.items(),
)
def test_short_names(name, loss):
    assert type(losses.get(name)) is loss


def test_a_dict_is_a_loss():
    loss = losses.get({"class_name": "Huber", "config": {"delta": 0.5}})
    assert loss.delta == 0.5
    with pytest.raises(ArgumentError, match="class_name and config, got name"):
        losses.get({"name": "huber"})


def test_the_dtype_of_a_call():
    loss = losses.MeanSquaredError(dtype="float64")
    assert loss.rows([[0.0]], np.ones((1, 1), np.float32)).dtype == np.float64
    assert losses.mean_squared_error([[0.0]], np.ones((1, 1), np.float16)).dtype == np.float32


# --------------------------------------------------------------------- what is refused


def refused(message):
    return pytest.raises((ArgumentError, ShapeError), match=message)


def test_unknown_names_and_arguments():
    with refused("did you mean 'mean_squared_error'"):
        losses.get("mean_sqared_error")
    with refused("knows the reductions .*got 'avg'"):
        losses.MeanSquaredError(reduction="avg")
    with refused("computes in float32 or float64, got 'int8'"):
        losses.Huber(dtype="int8")
    with refused("label_smoothing, got 1.5"):
        losses.CategoricalCrossentropy(label_smoothing=1.5)
    with refused("number for each alpha, got 'a'"):
        losses.CategoricalFocalCrossentropy(alpha=[0.1, "a"])
    with refused("has 2 numbers in alpha for predictions of 3 classes"):
        losses.CategoricalFocalCrossentropy(alpha=[0.1, 0.9])([[0, 0, 1]], [[0.2, 0.2, 0.6]])
    with refused("axis=-1, got 1"):
        losses.BinaryCrossentropy(axis=1)
    with refused("ignore_class, got 1.5"):
        losses.SparseCategoricalCrossentropy(ignore_class=1.5)
    with refused("have the axes 0 to 1"):
        losses.dice(BITS, BITS, axis=2)


@pytest.mark.parametrize("reduction", ["none", None])
def test_a_model_needs_one_number(reduction):
    with refused("gives no single number to train on"):
        small_model("linear", losses.MeanSquaredError(reduction=reduction))
    with refused("gives no single number"):
        losses.MeanSquaredError(reduction=reduction).gradient(NUMBERS, NUMBERS)
    assert losses.MeanSquaredError(reduction=reduction)(NUMBERS, NUMBERS).shape == (ROWS,)


def test_labels_of_the_wrong_kind():
    with refused("For one-hot rows use the loss 'categorical_crossentropy'"):
        losses.sparse_categorical_crossentropy(ONE_HOT, POSITIVE)
    with refused("For class numbers use the loss 'sparse_categorical_crossentropy'"):
        losses.categorical_focal_crossentropy(CLASSES, POSITIVE)
    with refused("class numbers from 0 to 2.*from 0 to 7"):
        losses.SparseCategoricalCrossentropy(ignore_class=-1)([0, -1, 7], POSITIVE[:3])
    with refused("must be from 0 to 1, got numbers from -1.0 to 1.0; for labels of -1 and 1 take"):
        losses.binary_crossentropy(2 * BITS - 1, POSITIVE)
    with refused("zeros beside other labels"):
        losses.hinge([[0.0], [-1.0]], [[1.0], [1.0]])
    with refused("one for all samples of a batch, which cannot weigh differently"):
        losses.Dice()(BITS, BITS, WEIGHTS)


@pytest.mark.emulator
def test_labels_on_a_device():
    device = backend_named("emulator")
    labels = device.from_numpy(2.0 * BITS - 1.0)
    assert losses.Hinge().labels(labels, BITS.shape, device) is labels
    with refused("zeros beside other labels"):
        losses.Hinge().labels(device.from_numpy(NUMBERS * BITS), BITS.shape, device)
    bits = device.from_numpy(BITS)
    assert losses.BinaryCrossentropy().labels(bits, BITS.shape, device) is bits


def test_last_layers_that_cannot_work():
    for loss in ("mse", "categorical_crossentropy", losses.SparseCategoricalCrossentropy(True)):
        with refused("softmax to one unit, which is always 1"):
            Sequential([Dense(1, "softmax")]).compile("sgd", loss)
    with refused("needs one output a class, but dense has one unit"):
        Sequential([Dense(1, "sigmoid")]).compile("sgd", "categorical_crossentropy")


@pytest.mark.parametrize(
    ("loss", "end", "message"),
    [
        (losses.CategoricalCrossentropy(True), "softmax", "from_logits=True, but .* with softmax"),
        (losses.BinaryCrossentropy(True), "sigmoid", "drop one of the two"),
        ("sparse_categorical_crossentropy", "linear", "takes probabilities, but .* with linear"),
        ("binary_focal_crossentropy", "tanh", "give it activation='sigmoid', or the loss from"),
    ],
)
def test_last_layers_that_are_a_mistake(loss, end, message):
    with pytest.warns(UserWarning, match=message) as caught:
        Sequential([Dense(3), Dense(3, end)]).compile("sgd", loss)
    assert caught[0].filename == __file__  # where compile was called


def test_last_layers_that_are_right_are_not_spoken_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for loss, end, _ in CASES:
            Sequential([Dense(3, end)]).compile("sgd", loss)
        Sequential().compile("sgd", "mse")


def test_a_failed_compile_changes_nothing():
    model = small_model("linear", "mse")
    with refused("no single number"):
        model.compile("adam", losses.Huber(reduction=None))
    assert model.loss.name == "mean_squared_error"
    assert isinstance(model.optimizer, optimizers.SGD)


# ---------------------------------------------------------------------------- fusion


@pytest.mark.parametrize(
    ("loss", "end", "op"),
    [
        (losses.CategoricalCrossentropy(label_smoothing=0.1), "softmax", "softmax_cross_entropy"),
        (losses.SparseCategoricalCrossentropy(ignore_class=0), "softmax", "softmax_cross_entropy"),
        (losses.BinaryCrossentropy(label_smoothing=0.1), "sigmoid", "sigmoid_cross_entropy"),
        (losses.CategoricalFocalCrossentropy(), "softmax", "softmax_focal_cross_entropy"),
        (losses.BinaryFocalCrossentropy(), "sigmoid", "sigmoid_focal_cross_entropy"),
    ],
)
def test_after_a_final_activation_losses_are_computed_from_logits(loss, end, op):
    model = Sequential([Dense(3, end, input_dim=4)])
    model.compile("sgd", loss, metrics=["accuracy"])
    records = {record.op.name: record for record in model.training_plan(8).records}
    assert op in records
    assert not {"softmax", "softmax_backward", "accuracy"} & set(records)
    for name, value in loss.attributes().items():
        assert records[op].attributes[name] == value


# ------------------------------------------------------------------------ saturation


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_losses_of_large_logits(dtype, gamma):
    x = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [0.0, 0.0, 0.0]], dtype)
    y = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0]], dtype)
    for loss in (
        losses.CategoricalFocalCrossentropy(1.0, gamma, from_logits=True),
        losses.BinaryFocalCrossentropy(gamma=gamma, from_logits=True),
    ):
        values, gradient = loss.rows(y, x), loss.gradient(y, x)
        assert np.isfinite(values).all()
        assert np.isfinite(gradient).all()
    focal = losses.categorical_focal_crossentropy(y, x, 1.0, gamma, from_logits=True)
    # 0^0 is 1: without gamma this is the plain cross-entropy.
    np.testing.assert_allclose(focal[:2], [0.0, 2e4 + np.log(2.0)], rtol=1e-6)


@pytest.mark.parametrize("backend", ["numpy", pytest.param("emulator", marks=pytest.mark.emulator)])
def test_saturated_focal_ops(backend):
    """Probabilities of 0 and 1 and huge logits give finite numbers on every backend."""
    from gpunet.testing.op_checks import guarded_call, with_outputs

    device = backend_named(backend)
    ends = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], np.float32)
    labels = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], np.float32)
    for name, x in (
        ("softmax_focal_cross_entropy", 1e4 * ends),
        ("sigmoid_focal_cross_entropy", 1e4 * (2 * ends - 1)),
        ("focal_cross_entropy", ends),
        ("binary_focal_cross_entropy", ends),
    ):
        for gamma in (0.0, 0.5, 2.0):
            attributes = {"scale": 1.0, "alpha": 1.0, "gamma": gamma}
            totals = {"totals": np.zeros(2), "accuracy_totals": np.zeros(2)}
            arrays = {"x": x, "labels": labels, **totals}
            complete = with_outputs(name, arrays, attributes, "float32")
            written = guarded_call(device, name, complete, attributes)
            assert np.isfinite(written["loss"]).all()
            assert np.isfinite(written["dx"]).all()
            assert written["correct"].tolist() == [1.0, 0.0]


def test_nan_predictions_are_seen():
    x = np.full((2, 3), 0.5)
    x[1, 2] = np.nan
    y = np.array([[0.0, 1.0, 0.0]] * 2)
    for loss in ALL:
        labels = [1, 1] if loss.sparse else y
        per_row = loss(reduction=None, **({"axis": -1} if hasattr(loss(), "axis") else {}))
        assert np.isnan(per_row(labels, x)).tolist() == [False, True], loss


@pytest.mark.parametrize("name", ["base", "margin", "overlap", "probabilistic", "regression"])
def test_examples(name):
    module = importlib.import_module(f"gpunet.losses.{name}")
    result = doctest.testmod(module)
    assert result.attempted
    assert result.failed == 0
