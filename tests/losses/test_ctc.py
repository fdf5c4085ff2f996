"""CTC: against all ways written out, against Keras and PyTorch, in models, and decoded."""

import itertools

import numpy as np
import pytest

from gpunet import Sequential, layers, losses, ops
from gpunet.backend import backend_named
from gpunet.errors import ArgumentError, GpunetWarning, ShapeError
from gpunet.testing import compare
from gpunet.text import ctc_decode

# From keras.losses.CTC(reduction=None), keras.ops and torch.nn.functional.ctc_loss (Keras 3.15,
# PyTorch 2.13), whose gradients are those of the sum.
X = np.round(np.sin(1.7 * np.arange(3 * 6 * 5)).reshape(3, 6, 5) * 3, 6)
Y = np.array([[1, 2, 2, 0], [3, 1, 4, 1], [2, 0, 0, 0]])
LOSSES = [5.122798033648652, 6.556096861027373, 11.768180975438598]
SLOPES = {
    (0, 2): [
        *(0.002416622103766899, 0.029584611576360435, -0.06802204605466323),
        *(0.033505903319685865, 0.0025149090548500395),
    ],
    (1, 5): [
        *(0.007270611266232705, -0.2929960265280567, 0.2511738234879941),
        *(0.003700312306700123, 0.03085127946712975),
    ],
}
WEIGHTS = np.array([1.0, 2.0, 0.5])


def spelled(way, blank=0):
    """What is left of a way."""
    return tuple(label for label, _ in itertools.groupby(way) if label != blank)


def all_ways(x, blank=0):
    """Label sequence -> its probability, by writing out every way through the steps."""
    p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    found = {}
    for way in itertools.product(range(x.shape[1]), repeat=len(x)):
        labels = spelled(way, blank)
        found[labels] = found.get(labels, 0.0) + p[np.arange(len(x)), way].prod()
    return found


@pytest.mark.parametrize("blank", [0, 2])
def test_against_all_ways(blank):
    x = np.random.default_rng(0).standard_normal((1, 5, 3))
    for labels, probability in all_ways(x[0], blank).items():
        padded = np.array([[*labels, *[blank] * (5 - len(labels))]], np.int32)
        loss, _ = ops.ctc(x, padded, blank=blank)
        assert loss[0] == pytest.approx(-np.log(probability), rel=1e-12), labels
    loss, _ = ops.ctc(x, np.array([[1 - blank // 2] * 4]), blank=blank)  # needs 7 steps
    assert loss[0] == np.inf


def test_values_and_gradients_of_keras_and_pytorch():
    np.testing.assert_allclose(losses.ctc(Y, X), LOSSES, rtol=1e-12)
    np.testing.assert_allclose(losses.CTC()(Y, X), np.mean(LOSSES), rtol=1e-12)
    slope = losses.CTC(reduction="sum").gradient(Y, X)
    for place, wanted in SLOPES.items():
        np.testing.assert_allclose(slope[place], wanted, rtol=1e-10)
    slope = losses.CTC().gradient(Y, X, WEIGHTS)
    np.testing.assert_allclose(slope[1, 5], np.multiply(SLOPES[1, 5], 2 / 3), rtol=1e-10)


@pytest.mark.parametrize(
    ("reduction", "wanted"),
    [
        ("sum", 24.119083404541016),
        ("mean", 8.039694786071777),
        ("mean_with_sample_weight", 6.891166687011719),
    ],
)
def test_reductions_of_keras(reduction, wanted):
    assert losses.CTC(reduction=reduction)(Y, X, WEIGHTS) == pytest.approx(wanted, rel=1e-6)


def test_lengths_of_keras():
    loss, dx = ops.ctc(X, Y[:, :3], None, [4, 6, 5], [2, 3, 1])
    np.testing.assert_allclose(loss, [3.4109, 9.5879, 8.7443], atol=6e-5)
    assert not dx[0, 4:].any()
    assert not dx[2, 5:].any()
    assert dx[0, 3].any()


def test_what_lies_behind_the_lengths_is_not_read():
    x = X.copy()
    x[0, 4:] = np.nan
    loss, dx = ops.ctc(x, [[1, 2, -9]] * 3, None, [4, 4, 4], [2, 2, 2])
    assert np.isfinite(loss).all()
    assert np.isfinite(dx).all()


@pytest.fixture(params=["numpy", pytest.param("emulator", marks=pytest.mark.emulator)])
def device(request):
    return backend_named(request.param)


def run(device, x, labels, **given):
    arrays = {name: np.asarray(value) for name, value in given.items()}
    arrays |= {"x": np.asarray(x, np.float32), "labels": np.asarray(labels, np.int32)}
    on_device = {name: device.from_numpy(array) for name, array in arrays.items()}
    return [device.to_numpy(array) for array in ops.ctc(**on_device)]


def test_no_way_is_an_infinite_loss_without_a_gradient(device):
    loss, dx = run(device, X, [[1, 1, 1, 1]] * 3)  # needs 7 steps
    assert loss.tolist() == [np.inf] * 3
    assert not dx.any()
    loss, _ = run(device, X, [[1, 1, 1, 1]] * 3, sample_weight=np.float32([0, 1, 0]))
    assert loss.tolist() == [0, np.inf, 0]


def test_nan_goes_through(device):
    x = X.copy()
    x[1, 2, 3] = np.nan
    loss, dx = run(device, x, Y)
    assert np.isnan(loss).tolist() == [False, True, False]
    assert np.isnan(dx).any(axis=(1, 2)).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("labels", "lengths"),
    [
        ([1, 5, 0], {}),
        ([1, -1, 2], {}),
        ([1, 0, 2], {"label_lengths": np.int32([3])}),
        ([1, 2, 3], {"label_lengths": np.int32([4])}),
        ([1, 2, 3], {"lengths": np.int32([7])}),
        ([1, 2, 3], {"lengths": np.int32([-1])}),
    ],
)
def test_labels_and_lengths_that_cannot_be_give_nan(device, labels, lengths):
    loss, dx = run(device, X[:1], [labels], **lengths)
    assert np.isnan(loss).all()
    assert np.isnan(dx).all() or lengths.get("lengths", [1])[0] < 0  # where no step is


def test_long_sequences_keep_their_digits(device):
    """Without taking off what each step adds, the errors would be 1.3e-4."""
    random = np.random.default_rng(1)
    x, labels = random.standard_normal((1, 1500, 6)), random.integers(1, 6, (1, 270))
    loss, dx = run(device, x, labels)
    exact, slope = ops.ctc(x.astype(np.float32).astype(np.float64), labels)
    np.testing.assert_allclose(loss, exact, rtol=1e-6)
    np.testing.assert_allclose(dx, slope, atol=4e-5)


def test_a_model_learns_to_spell():
    steps = np.zeros((12, 9), np.int64)
    random = np.random.default_rng(0)
    for row in steps:
        row[random.choice(9, 4, replace=False)] = random.integers(1, 5, 4)
    x = np.eye(5, dtype=np.float32)[steps]
    y = np.zeros((12, 5), np.int64)
    for row, labels in zip(y, map(spelled, steps), strict=True):
        row[: len(labels)] = labels
    model = Sequential([layers.Dense(16, "tanh", input_shape=(9, 5)), layers.Dense(5)])
    model.compile("adam", "ctc")
    model.optimizer.learning_rate = 0.05
    before = model.evaluate(x, y, verbose=0)
    model.fit(x, y, batch_size=5, epochs=60, verbose=0)
    assert model.evaluate(x, y, verbose=0) < 0.1 * before
    read, _ = ctc_decode(model.predict(x, verbose=0), [9] * 12)
    assert np.array_equal(np.maximum(read[0, :, :5], 0), y)


@pytest.mark.emulator
def test_kernels_agree_with_numpy():
    random = np.random.default_rng(0)
    model = Sequential([layers.Dense(7, "tanh", input_shape=(11, 4)), layers.Dense(6)])
    model.compile("sgd", "ctc")
    x = random.standard_normal((5, 11, 4)).astype(np.float32)
    comparison = compare(model, "numpy", "emulator", x, [[1, 2, 2, 0]] * 2 + [[5, 0, 0, 0]] * 3)
    assert comparison.ok, str(comparison)


@pytest.mark.emulator
def test_labels_without_end():
    """More states than threads; and more than the kernel takes."""
    random = np.random.default_rng(0)
    x, labels = random.standard_normal((1, 310, 3)), random.integers(1, 3, (1, 300))
    labels[:] = np.arange(300) % 2 + 1
    loss, dx = run(backend_named("emulator"), x, labels)
    exact, slope = ops.ctc(x, labels)
    np.testing.assert_allclose(loss, exact, rtol=1e-6)
    np.testing.assert_allclose(dx, slope, atol=4e-5)
    with pytest.raises(ShapeError, match="up to 2047 labels a sample on the GPU, got 2048"):
        run(backend_named("emulator"), np.zeros((1, 1, 3)), np.ones((1, 2048)))


def test_mistakes():
    loss = losses.CTC()
    with pytest.raises(ShapeError, match=r"takes predictions \(samples, steps, classes\)"):
        loss([[1]], [[1.0, 2.0]])
    with pytest.raises(ShapeError, match=r"must be class numbers of shape \(samples, length\)"):
        loss([1, 2, 3], X)
    with pytest.raises(ArgumentError, match="got fractions"):
        loss([[0.5]] * 3, X)
    with pytest.raises(ArgumentError, match="from 1 to 4, padded with 0, got numbers from 1 to 5"):
        loss([[1, 5]] * 3, X)
    with pytest.raises(ArgumentError, match="0 before a label"):
        loss([[0, 1]] * 3, X)
    with pytest.warns(GpunetWarning, match="3 of 3 samples have labels that need up to 7 steps"):
        assert loss([[1, 1, 1, 1]] * 3, X) == np.inf
    with pytest.warns(GpunetWarning, match="'ctc' takes logits, but dense.* ends with softmax"):
        Sequential([layers.Dense(5, "softmax", input_shape=(8, 4))]).compile("sgd", "ctc")
    with pytest.raises(ArgumentError, match="takes one of the 5 classes as blank, got 5"):
        ops.ctc(X, Y, blank=5)


# -------------------------------------------------------------------------------- decoding

GREEDY = [-16.967769622802734, -11.05348014831543, -5.1421098709106445]  # of keras.ops.ctc_decode
BEAMS = [
    [[1, 3, 2, 1, 3, 2], [4, 3, 2, 4], [2]],
    [[1, 2, 1, 3, 2], [4, 3, 2], [4, 2]],
    [[1, 3, 2, 4, 3, 2], [4, 3, 1, 4], [3]],
]
SCORES = [
    [-2.17062, -2.34098, -2.48845],
    [-1.88786, -2.20475, -2.49828],
    [-1.21872, -1.46059, -1.474919],
]
OTHER_BLANK = [
    [[1, 3, 2, 1, 3, 2], [3, 2], [0, 2]],
    [[1, 0, 2, 1, 3, 2], [3, 2, 0], [2]],
    [[1, 3, 2, 3, 2], [3, 1], [0, 3]],
]


def cut(rows):
    return [row[row >= 0].tolist() for row in rows]


def test_greedy_decoding_of_keras():
    labels, scores = ctc_decode(X.astype(np.float32), [6, 4, 2])
    assert labels.shape == (1, 3, 6)
    assert cut(labels[0]) == [[1, 3, 2, 1, 3, 2], [4, 3, 2, 4], [2]]
    np.testing.assert_allclose(scores[:, 0], GREEDY, rtol=1e-6)
    assert cut(ctc_decode(X, [6, 4, 2], mask_index=4)[0][0]) == OTHER_BLANK[0]
    way = np.eye(3)[[[1, 1, 0, 1, 2]]]
    assert cut(ctc_decode(way, [5], merge_repeated=False)[0][0]) == [[1, 1, 1, 2]]


def test_beam_search_of_keras():
    options = {"strategy": "beam_search", "beam_width": 6, "top_paths": 3}
    labels, scores = ctc_decode(X.astype(np.float32), np.array([6, 4, 2]), **options)
    assert [cut(path) for path in labels] == BEAMS
    np.testing.assert_allclose(scores, SCORES, atol=1e-5)
    labels, _ = ctc_decode(X, [6, 4, 2], mask_index=4, **options)
    assert [cut(path) for path in labels] == OTHER_BLANK


def test_a_wide_beam_finds_the_likeliest_of_all():
    x = np.random.default_rng(2).standard_normal((1, 5, 3))
    ways = sorted(all_ways(x[0]).items(), key=lambda item: -item[1])[:4]
    labels, scores = ctc_decode(x, [5], "beam_search", top_paths=4)
    assert [tuple(row) for path in labels for row in cut(path)] == [found for found, _ in ways]
    np.testing.assert_allclose(scores[0], np.log([p for _, p in ways]), rtol=1e-12)


def test_nothing_to_decode():
    labels, scores = ctc_decode(np.zeros((2, 3, 4)), [0, 1], "beam_search", 10, 6)
    assert labels.shape == (6, 2, 3)
    assert (labels[:, 0] == -1).all()
    assert scores[0].tolist() == [0.0] + [-np.inf] * 5
    assert np.isfinite(scores[1]).sum() == 4
    assert ctc_decode(np.zeros((0, 3, 4)), [])[0].shape == (1, 0, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strategy": "best"}, "knows the strategies 'greedy' and 'beam_search', got 'best'"),
        ({"beam_width": 0}, "positive integer for beam_width, got 0"),
        ({"top_paths": 101}, "up to the beam's width, 100 for top_paths, got 101"),
        ({"mask_index": 5}, "one of the 5 classes as mask_index, got 5"),
        ({"sequence_lengths": [7, 1, 1]}, "from 1 to 7, but inputs have 6 steps"),
        ({"sequence_lengths": [1]}, r"a length for each sample, got \(3, 6, 5\) and \(1,\)"),
    ],
)
def test_mistakes_in_decoding(arguments, message):
    with pytest.raises((ArgumentError, ShapeError), match=message):
        ctc_decode(**{"inputs": X, "sequence_lengths": [6, 6, 6], **arguments})
