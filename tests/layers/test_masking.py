"""Masks: who makes them, whom they go through, and what they keep from counting."""

import json

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, layers, losses, optimizers
from gpunet.errors import ArgumentError, GpunetWarning, ShapeError
from gpunet.models import model_from_json
from gpunet.testing import gradient_check

TOKENS = np.array([[3, 1, 0, 0], [2, 0, 4, 1], [0, 0, 0, 0]], np.int32)
PRESENT = (TOKENS != 0).astype(float)
STEPS = np.random.default_rng(0).standard_normal((3, 4, 5)) * PRESENT[:, :, None]


@pytest.fixture(params=["numpy", pytest.param("emulator", marks=pytest.mark.emulator)])
def backend(request):
    return request.param


class ReadMask(layers.Layer):
    """The mask as numbers: what a layer behind sees."""

    supports_masking = True

    def compute_output_shape(self, input_shape):
        return input_shape[:2]

    def forward(self, op, c):
        if c.mask is None:
            op.fill(c.y, value=-1.0)
        else:
            op.scale_shift(c.y, c.mask, scale=1.0, offset=0.0)

    def backward(self, op, c):
        op.fill(c.dx, value=0.0)


def mask_seen(x, y, data, backend="numpy"):
    """What a layer behind y sees as its mask."""
    return Model(x, ReadMask()(y)).to(backend).predict(data, verbose=0)


# ------------------------------------------------------------------------------ who makes them


def test_embedding_masks_zero(backend):
    x = Input((4,), dtype="int32")
    seen = mask_seen(x, layers.Embedding(5, 2, mask_zero=True)(x), TOKENS, backend)
    np.testing.assert_array_equal(seen, PRESENT)


def test_without_mask_zero_nothing_is_masked():
    x = Input((4,), dtype="int32")
    y = layers.Embedding(5, 2)(x)
    assert y.mask is None
    np.testing.assert_array_equal(mask_seen(x, y, TOKENS), np.full((3, 4), -1.0))


def test_masking_masks_steps_of_one_value(backend):
    x = Input((4, 5))
    y = layers.Masking()(x)
    np.testing.assert_array_equal(mask_seen(x, y, STEPS, backend), PRESENT)
    model = Model(x, y).to(backend)
    np.testing.assert_array_equal(model.predict(STEPS, verbose=0), STEPS.astype(np.float32))


def test_masking_of_another_value_writes_zeros_there():
    data = np.where(PRESENT[:, :, None] == 1, STEPS, -7.0)
    x = Input((4, 5))
    y = layers.Masking(-7.0)(x)
    np.testing.assert_array_equal(mask_seen(x, y, data), PRESENT)
    np.testing.assert_array_equal(Model(x, y).predict(data, verbose=0), STEPS.astype(np.float32))
    dx = Model(x, y).run(data, training=True).backward(np.ones_like(data))
    np.testing.assert_array_equal(dx, np.repeat(PRESENT[:, :, None], 5, axis=2))


@pytest.mark.parametrize("wrong", ["0", None, True])
def test_masking_takes_a_number(wrong):
    with pytest.raises(ArgumentError, match="a number for mask_value"):
        layers.Masking(wrong)


def test_masking_needs_steps():
    with pytest.raises(ShapeError, match="mask_zero=True"):
        layers.Masking()(Input((4,)))


# --------------------------------------------------------------------------- whom they go through


@pytest.mark.parametrize(
    "layer",
    [
        layers.Dense(3),
        layers.Activation("tanh"),
        layers.ReLU(),
        layers.PReLU(),
        layers.Dropout(0.5),
        layers.SpatialDropout1D(0.5),
        layers.GaussianNoise(0.1),
        layers.LayerNormalization(),
        layers.RMSNormalization(),
        layers.BatchNormalization(),
        layers.Rescaling(2.0),
        layers.ActivityRegularization(0.1),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_that_keep_the_steps_pass_it_on(layer):
    x = Input((4, 5))
    np.testing.assert_array_equal(mask_seen(x, layer(layers.Masking()(x)), STEPS), PRESENT)


def test_layers_that_know_no_masks_say_so():
    x = layers.Masking()(Input((4, 5)))
    with pytest.warns(GpunetWarning, match=r"'flat' \(Flatten\) knows no masks"):
        y = layers.Flatten(name="flat")(x)
    assert y.mask is None


OTHER = STEPS * np.array([[1, 0, 1, 0]] * 3)[:, :, None]


@pytest.mark.parametrize("merge", [layers.Add, layers.Multiply, layers.Maximum, layers.Concatenate])
def test_merged_steps_are_there_if_one_of_them_is(merge, backend):
    a, b = Input((4, 5)), Input((4, 5))
    y = merge()([layers.Masking()(a), layers.Masking()(b)])
    seen = mask_seen([a, b], y, [STEPS, OTHER], backend)
    np.testing.assert_array_equal(seen, np.maximum(PRESENT, OTHER.any(axis=-1)))


def test_merged_with_something_unmasked_nothing_is_masked():
    a, b = Input((4, 5)), Input((4, 5))
    assert layers.Add()([layers.Masking()(a), b]).mask is None


def test_a_residual_keeps_its_mask():
    x = layers.Masking()(Input((4, 5)))
    assert layers.Add()([x, layers.Dense(5)(x)]).mask is x.mask


def test_concatenated_steps_have_concatenated_masks(backend):
    a, b, free = Input((4, 5)), Input((4, 5)), Input((2, 5))
    y = layers.Concatenate(axis=1)([layers.Masking()(a), free, layers.Masking()(b)])
    seen = mask_seen([a, b, free], y, [STEPS, OTHER, np.zeros((3, 2, 5))], backend)
    expected = [PRESENT, np.ones((3, 2)), OTHER.any(axis=-1)]
    np.testing.assert_array_equal(seen, np.concatenate(expected, axis=1))


def test_merged_masks_must_have_one_shape():
    tokens = layers.Embedding(5, 5, mask_zero=True)(Input((4,), dtype="int32"))
    wide = layers.Masking()(Input((1, 5)))
    with pytest.raises(ShapeError, match="one shape, got"):
        layers.Add()([tokens, wide])


def test_the_mean_over_steps_is_over_those_that_are_there(backend):
    x = Input((4, 5))
    masked = layers.Masking()(x)
    data = np.where(PRESENT[:, :, None] == 1, STEPS, 0.0)
    y = Model(x, layers.GlobalAveragePooling1D()(masked)).to(backend).predict(data, verbose=0)
    count = np.maximum(PRESENT.sum(axis=1, keepdims=True), 1)
    np.testing.assert_allclose(y, data.sum(axis=1) / count, rtol=1e-5, atol=1e-6)


def test_gradients_of_the_mean_over_steps():
    x, mask = Input((4, 5)), Input((4,), dtype="bool")
    for keepdims in (False, True):
        y = layers.GlobalAveragePooling1D(keepdims=keepdims)(x, mask=mask)
        assert gradient_check(Model([x, mask], y), [STEPS, PRESENT.astype(bool)]) < 1e-7


# --------------------------------------------------------------------------------- given masks


def test_a_mask_may_be_an_input_of_the_model(backend):
    x, mask = Input((4, 5)), Input((4,), dtype="bool")
    y = layers.GlobalAveragePooling1D()(x, mask=mask)
    model = Model([x, mask], y).to(backend)
    expected = STEPS[:1, 1:3].mean(axis=1)
    for given in ([False, True, True, False], [0, 1, 1, 0], [0.0, 0.5, 2.0, 0.0]):
        got = model.predict([STEPS[:1], np.array([given])], verbose=0)
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    model.compile("sgd", "mse")
    x_batch, mask_batch = STEPS[:1].repeat(2, axis=0), np.array([given] * 2)
    loss = model.evaluate([x_batch, mask_batch], np.zeros((2, 5)), verbose=0)
    assert loss == pytest.approx(float((expected**2).mean()), rel=1e-5)


def test_a_given_mask_comes_before_the_one_that_is_there():
    tokens, mask = Input((4,), dtype="int32"), Input((4,), dtype="bool")
    embedded = layers.Embedding(5, 3, mask_zero=True)(tokens)
    y = ReadMask()(layers.Dense(2)(embedded, mask=mask))
    other = np.array([[1, 1, 1, 0]] * 3, bool)
    seen = Model([tokens, mask], y).predict([TOKENS, other], verbose=0)
    np.testing.assert_array_equal(seen, other.astype(float))


def test_masks_survive_json_and_clones():
    x, mask = Input((4, 5), name="x"), Input((4,), dtype="bool", name="mask")
    y = layers.GlobalAveragePooling1D()(layers.Dense(5)(layers.Masking()(x)), mask=mask)
    model = Model([x, mask], y)
    again = model_from_json(json.dumps(json.loads(model.to_json())))
    again.set_weights(model.get_weights())
    data = [STEPS, np.array([[1, 0, 1, 1]] * 3, bool)]
    np.testing.assert_array_equal(again.predict(data, verbose=0), model.predict(data, verbose=0))


def test_mistakes():
    x = Input((4, 5))
    pool = layers.GlobalAveragePooling1D(name="pool")
    with pytest.raises(ArgumentError, match="masks of dtype bool, got float32"):
        pool(x, mask=Input((4,)))
    with pytest.raises(ShapeError, match=r"'pool' got a mask \(None, 3\)"):
        pool(x, mask=Input((3,), dtype="bool"))
    with pytest.raises(ArgumentError, match="one mask for each of its 2 inputs"):
        layers.Add()([x, x], mask=Input((4,), dtype="bool"))
    with pytest.raises(ArgumentError, match="symbolic tensors as mask=, got mask=True"):
        pool(x, mask=True)
    with pytest.raises(ArgumentError, match="a tensor of dtype bool, which is for masks"):
        layers.Dense(2)(Input((4,), dtype="bool"))
    tokens = Input((4,), dtype="int32")
    model = Model(tokens, layers.Embedding(5, 2, mask_zero=True)(tokens))
    model.compile("sgd", losses.Dice())
    with pytest.raises(ArgumentError, match="has losses of shape"):
        model.train_on_batch(TOKENS, np.zeros((3, 4, 2)))


# ------------------------------------------------------------------------ losses and metrics


def tagger(**options):
    model = Sequential(
        [layers.Embedding(5, 3, mask_zero=True), layers.Dense(2, "softmax")], name="tagger"
    )
    model.compile(optimizers.SGD(0.5), "sparse_categorical_crossentropy", **options)
    return model


LABELS = np.array([[1, 0, 1, 1], [0, 1, 1, 0], [1, 1, 0, 0]])
WEIGHTS = np.array([0.5, 2.0, 1.0])


@pytest.mark.parametrize("eagerly", [False, True])
def test_masked_steps_count_neither_in_the_loss_nor_in_metrics(backend, eagerly):
    model = tagger(metrics=["accuracy"], run_eagerly=eagerly)
    model.build((None, 4))
    model.to(backend)
    y = model.predict(TOKENS, verbose=0)
    losses_of_steps = -np.log(np.take_along_axis(y, LABELS[..., None], axis=-1)[..., 0])
    right = y.argmax(axis=-1) == LABELS
    there = PRESENT == 1
    loss, accuracy = model.evaluate(TOKENS, LABELS, verbose=0)
    assert loss == pytest.approx(losses_of_steps[there].mean(), rel=1e-5)
    assert accuracy == pytest.approx(right[there].mean())


def test_sample_weights_and_masks_multiply(backend):
    model = tagger(weighted_metrics=["accuracy"])
    model.build((None, 4))
    model.to(backend)
    y = model.predict(TOKENS, verbose=0)
    losses_of_steps = -np.log(np.take_along_axis(y, LABELS[..., None], axis=-1)[..., 0])
    weights = WEIGHTS[:, None] * PRESENT
    right = y.argmax(axis=-1) == LABELS
    loss, accuracy = model.evaluate(TOKENS, LABELS, sample_weight=WEIGHTS, verbose=0)
    assert loss == pytest.approx((losses_of_steps * weights).sum() / PRESENT.sum(), rel=1e-5)
    assert accuracy == pytest.approx((right * weights).sum() / weights.sum(), rel=1e-5)


def test_a_sum_leaves_masked_steps_out():
    model = tagger()
    model.compile("sgd", losses.SparseCategoricalCrossentropy(reduction="sum"))
    model.build((None, 4))
    y = model.predict(TOKENS, verbose=0)
    losses_of_steps = -np.log(np.take_along_axis(y, LABELS[..., None], axis=-1)[..., 0])
    expected = (losses_of_steps * PRESENT).sum()
    assert model.evaluate(TOKENS, LABELS, verbose=0) == pytest.approx(expected, rel=1e-5)
    weighted = (losses_of_steps * PRESENT * WEIGHTS[:, None]).sum()
    got = model.evaluate(TOKENS, LABELS, sample_weight=WEIGHTS, verbose=0)
    assert got == pytest.approx(weighted, rel=1e-5)


def test_masked_steps_teach_nothing(backend):
    """Whatever stands in masked steps as labels, the weights come out the same."""
    results = []
    for labels in (LABELS, np.where(PRESENT == 1, LABELS, 1 - LABELS)):
        model = tagger()
        model.build((None, 4))
        model.to(backend)
        model.set_weights([np.linspace(-1, 1, w.size).reshape(w.shape) for w in model.weights])
        model.fit(TOKENS, labels, epochs=3, verbose=0, shuffle=False)
        results.append(model.get_weights())
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_batch_of_nothing_teaches_nothing():
    model = tagger()
    model.build((None, 4))
    before = model.get_weights()
    assert model.train_on_batch(np.zeros((2, 4), np.int32), LABELS[:2]) == 0.0
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
