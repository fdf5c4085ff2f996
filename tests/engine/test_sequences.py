"""Lists of sequences of different lengths: buckets, what is filled up, and what that changes."""

from itertools import pairwise

import numpy as np
import pytest

import gpunet
from gpunet import Input, Model, callbacks, layers, optimizers
from gpunet.engine.sequences import BUCKETS, Sequences, as_sequences, buckets_of
from gpunet.errors import ArgumentError, DtypeError, GpunetWarning, ShapeError

RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(1, 30, 50)
TEXTS = [RNG.integers(1, 9, length) for length in LENGTHS]
LABELS = np.array([int(text[0] > 4) for text in TEXTS])
TAGS = [(text > 4).astype(int) for text in TEXTS]


@pytest.fixture(params=["numpy", pytest.param("emulator", marks=pytest.mark.emulator)])
def backend(request):
    return request.param


def hidden(units):
    x = Input((None,), dtype="int32")
    return x, layers.Dense(units, "tanh")(layers.Embedding(9, 6, mask_zero=True)(x))


def reader(**options):
    """A class for each text."""
    x, steps = hidden(5)
    model = Model(x, layers.Dense(2, "softmax")(layers.GlobalAveragePooling1D()(steps)))
    model.compile(
        optimizers.SGD(0.3), "sparse_categorical_crossentropy", metrics=["accuracy"], **options
    )
    return model


def tagger(**options):
    """A class for each word."""
    x, steps = hidden(5)
    model = Model(x, layers.Dense(2, "softmax")(steps))
    model.compile(
        optimizers.SGD(0.5), "sparse_categorical_crossentropy", metrics=["accuracy"], **options
    )
    return model


def padded(sequences):
    return Sequences([np.asarray(sequence) for sequence in sequences]).padded()


# ------------------------------------------------------------------------------------ buckets


@pytest.mark.parametrize("most", [1, 3, BUCKETS])
def test_each_sample_is_in_one_bucket_with_those_of_like_lengths(most):
    buckets = buckets_of(LENGTHS, most)
    assert 1 <= len(buckets) <= most
    np.testing.assert_array_equal(np.sort(np.concatenate(buckets)), np.arange(len(LENGTHS)))
    for shorter, longer in pairwise(buckets):
        assert LENGTHS[shorter].max() < LENGTHS[longer].min()


def test_equal_lengths_are_one_bucket():
    assert [list(part) for part in buckets_of(np.array([4, 4, 4]))] == [[0, 1, 2]]


def test_what_buckets_save():
    lengths = np.arange(1, 201)

    def filled(most):
        parts = [lengths[part] for part in buckets_of(lengths, most)]
        return sum((part.max() - part).sum() for part in parts) / lengths.sum()

    assert filled(BUCKETS) == pytest.approx(0.12, abs=0.01)
    assert filled(1) == pytest.approx(0.99, abs=0.01)


def test_sequences_are_filled_up_with_zeros():
    ragged = as_sequences([[1, 2, 3], [4], []], "x")
    np.testing.assert_array_equal(ragged.padded(), [[1, 2, 3], [4, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(ragged[np.array([1, 2])].padded(2), [[4, 0], [0, 0]])
    assert ragged.shape == (3, None)
    assert as_sequences(np.zeros((2, 3)), "x") is None
    assert as_sequences([[1, 2], [3, 4]], "x") is None  # an array like any other
    objects = np.array([np.ones(2), np.ones(3)], dtype=object)
    assert as_sequences(objects, "x").lengths.tolist() == [2, 3]


# ----------------------------------------------------------------------- what a model makes of them


def test_predictions_are_those_of_the_filled_up_array(backend):
    model = reader().to(backend)
    expected = model.predict(padded(TEXTS), verbose=0)
    for batch_size in (7, 32):
        got = model.predict(TEXTS, batch_size, verbose=0)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.predict_on_batch(TEXTS), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model(TEXTS), expected, rtol=1e-5, atol=1e-6)


def test_predictions_of_each_step_have_the_lengths_of_the_samples():
    model = tagger()
    got = model.predict(TEXTS, 8, verbose=0)
    assert [len(rows) for rows in got] == LENGTHS.tolist()
    expected = model.predict(padded(TEXTS), verbose=0)
    for rows, row in zip(got, expected, strict=True):
        np.testing.assert_allclose(rows, row[: len(rows)], rtol=1e-5, atol=1e-6)


def test_evaluation_is_that_of_the_filled_up_array(backend):
    for model, y, dense in ((reader(), LABELS, LABELS), (tagger(), TAGS, padded(TAGS))):
        model.to(backend)
        expected = model.evaluate(padded(TEXTS), dense, batch_size=50, verbose=0)
        if y is LABELS:  # a mean over samples, however they are dealt to batches
            got = model.evaluate(TEXTS, y, batch_size=8, verbose=0)
        else:
            got = model.test_on_batch(TEXTS, y)
        np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("steps", [1, 3])
def test_training_learns_and_counts_its_steps(backend, steps):
    model = reader(steps_per_execution=steps).to(backend)
    seen = []
    count = callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(epoch))
    history = model.fit(TEXTS, LABELS, 8, 4, 0, [count])
    losses = history.history["loss"]
    assert losses[-1] < losses[0]
    assert len(seen) == 4
    batches = sum(-(-len(part) // 8) for part in buckets_of(LENGTHS))
    assert history.params["steps"] == batches
    assert model.optimizer.iterations == 4 * batches


def test_tags_of_each_word_are_learned():
    model = tagger()
    model.fit(TEXTS, TAGS, batch_size=8, epochs=15, verbose=0, validation_split=0.2)
    assert model.evaluate(TEXTS, TAGS, verbose=0)[1] == 1.0


def test_training_is_repeated_bit_for_bit_and_shuffles_batches():
    results, orders = [], []
    for seed in (1, 1, 2):
        gpunet.random.set_seed(seed)
        model = reader()
        model.fit(TEXTS, LABELS, batch_size=8, epochs=2, verbose=0)
        results.append(np.concatenate([w.ravel() for w in model.get_weights()]))
        orders.append(results[-1].tolist())
    assert orders[0] == orders[1] != orders[2]


def test_sample_weights_follow_their_samples():
    model = reader()
    weights = np.where(LABELS == 1, 0.0, 1.0)
    kept = [i for i, label in enumerate(LABELS) if label == 0]
    dense = padded(TEXTS)
    expected = model.evaluate(dense, LABELS, sample_weight=weights, batch_size=50, verbose=0)
    got = model.evaluate(TEXTS, LABELS, sample_weight=weights, batch_size=5, verbose=0)
    assert got[0] == pytest.approx(expected[0], rel=1e-5)
    assert len(kept) < len(TEXTS)


def test_two_inputs_of_which_one_has_lengths(backend):
    x, steps = hidden(4)
    other = Input((3,))
    joined = layers.Concatenate()([layers.GlobalAveragePooling1D()(steps), other])
    model = Model([x, other], layers.Dense(1)(joined)).to(backend)
    numbers = RNG.standard_normal((len(TEXTS), 3))
    expected = model.predict([padded(TEXTS), numbers], verbose=0)
    np.testing.assert_allclose(model.predict([TEXTS, numbers], verbose=0), expected, rtol=1e-4)
    model.compile("sgd", "mse")
    assert np.isfinite(model.fit([TEXTS, numbers], numbers[:, 0], verbose=0).history["loss"][0])


def test_features_of_steps():
    x = Input((None, 3))
    pooled = layers.GlobalAveragePooling1D()(layers.Masking()(x))
    model = Model(x, pooled)
    data = [RNG.standard_normal((n, 3)) for n in (2, 5, 3)]
    expected = [steps.mean(axis=0) for steps in data]
    np.testing.assert_allclose(model.predict(data, verbose=0), expected, rtol=1e-5, atol=1e-6)


# ----------------------------------------------------------------------------------- mistakes


def test_mistakes():
    model = tagger()
    before = model.get_weights()
    with pytest.raises(ShapeError, match=r"sample 1 has .* steps and 1 targets"):
        model.fit(TEXTS, [TAGS[0], TAGS[1][:1], *TAGS[2:]], verbose=0)
    with pytest.raises(ShapeError, match="as many entries in each array"):
        model.fit(TEXTS, TAGS[:-1], verbose=0)
    with pytest.raises(DtypeError, match="sample 1 of input 'input_layer'"):
        model.predict([[1, 2], ["a", "b", "c"]], verbose=0)
    with pytest.raises(ShapeError, match="differ in their lengths alone"):
        model.predict([[1, 2], [[1], [2], [3]]], verbose=0)
    with pytest.raises(DtypeError, match="takes integers"):
        model.predict([[1.5, 2.0], [1.0]], verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    fixed = Model(x := Input((4,)), layers.Dense(2)(x))
    with pytest.raises(DtypeError, match="rows of different lengths"):
        fixed.predict([[1.0, 2.0], [3.0]], verbose=0)


def test_without_masks_it_is_said():
    x = Input((None,), dtype="int32")
    steps = layers.Embedding(9, 2)(x)
    model = Model(x, steps)
    model.compile("sgd", "mse")
    with pytest.raises(ArgumentError, match="'embedding' has no mask, so that steps"):
        model.fit(TEXTS, [np.zeros((n, 2)) for n in LENGTHS], verbose=0)
    model = Model(x, layers.Dense(1)(layers.GlobalAveragePooling1D()(steps)))
    model.compile("sgd", "mse")
    with pytest.warns(GpunetWarning, match="no layer masks that"):
        model.fit(TEXTS, LABELS, verbose=0)
