"""Step by step the same logits as from whole sequences, and the same tokens as without caches."""

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, layers, text
from gpunet.engine.generation import Generator
from gpunet.errors import ArgumentError, ShapeError, UsageError

TOKENS, LENGTH, FEATURES, ROWS = 11, 9, 8, 3
SOURCE = np.random.default_rng(1).integers(0, TOKENS, (ROWS, 5))
IDS = np.random.default_rng(0).integers(0, TOKENS, (ROWS, LENGTH))


def decoder_only(length=LENGTH, activation=None):
    """GPT: learned positions, blocks of both kinds, weights of the tokens used twice."""
    tokens = Input((length,), dtype="int32")
    embedding = layers.TokenAndPositionEmbedding(TOKENS, LENGTH, FEATURES)
    x = layers.Dropout(0.5)(embedding(tokens))
    x = layers.TransformerDecoder(16, 2, 0.1, "gelu", normalize_first=True)(x)
    x = layers.TransformerDecoder(16, 4)(x)
    logits = embedding(layers.LayerNormalization()(x), reverse=True)
    return Model(tokens, layers.Activation(activation)(logits) if activation else logits)


def of_small_parts():
    """Attention, merging, sine and rotary positions without a block around them."""
    tokens = Input((LENGTH,), dtype="int32")
    x = layers.Embedding(TOKENS, FEATURES)(tokens)
    x = layers.Add()([x, layers.SinePositionEncoding(50)(x)])
    rotated = layers.RotaryEmbedding(100, 2.0)(x)
    y = layers.Attention(use_scale=True)([rotated, x, rotated], use_causal_mask=True)
    y = layers.Concatenate()([layers.RMSNormalization()(y), layers.Dense(4, "gelu")(x)])
    y = layers.MultiHeadAttention(2, 3, 5)(y, y, use_causal_mask=True)
    return Model(tokens, layers.Dense(TOKENS, "softmax")(layers.Rescaling(2.0)(y)))


def encoder_decoder():
    source, target = Input((5,), dtype="int32", name="source"), Input((LENGTH,), dtype="int32")
    x = layers.Embedding(TOKENS, 6)(source)
    encoded = layers.TransformerEncoder(16, 2)(layers.Add()([x, layers.PositionEmbedding(5)(x)]))
    y = layers.TokenAndPositionEmbedding(TOKENS, LENGTH, FEATURES)(target)
    for _ in range(2):
        y = layers.TransformerDecoder(16, 2)(y, encoded)
    return Model([source, target], layers.Dense(TOKENS)(y))


def with_masks():
    """Zeros are masked, of the source and of what grows."""
    source, target = Input((5,), dtype="int32", name="source"), Input((LENGTH,), dtype="int32")
    x = layers.TokenAndPositionEmbedding(TOKENS, 5, 6, mask_zero=True)(source)
    encoded = layers.TransformerEncoder(16, 2)(x)
    y = layers.TokenAndPositionEmbedding(TOKENS, LENGTH, FEATURES, mask_zero=True)(target)
    for _ in range(2):
        y = layers.TransformerDecoder(16, 2)(y, encoded)
    return Model([source, target], layers.Dense(TOKENS)(y))


def of_groups():
    """Heads that share keys, a window, and a gate."""
    tokens = Input((LENGTH,), dtype="int32")
    x = layers.TokenAndPositionEmbedding(TOKENS, LENGTH, FEATURES)(tokens)
    y = layers.GroupQueryAttention(4, 4, 2)(x, x, use_causal_mask=True)
    x = layers.Add()([x, y])
    attention = layers.MultiHeadAttention(2, 4, sliding_window=3, use_gate=True)
    return Model(tokens, layers.Dense(TOKENS)(attention(x, x, use_causal_mask=True)))


MODELS = [decoder_only, of_small_parts, encoder_decoder, with_masks, of_groups]


def whole(model, ids=IDS, source=SOURCE):
    """The output for whole sequences."""
    return model.predict([source, ids] if len(model.inputs) > 1 else ids, verbose=0)


def others(model, source=SOURCE):
    return {"source": source} if len(model.inputs) > 1 else None


@pytest.mark.parametrize("backend", ["numpy", pytest.param("emulator", marks=pytest.mark.emulator)])
@pytest.mark.parametrize("first", [1, 4])
@pytest.mark.parametrize("make", MODELS)
def test_same_logits_as_whole_sequences(make, first, backend):
    model = make()
    wanted = whole(model)
    model.to(backend)
    generator = Generator(model, ROWS, inputs=others(model))
    for _ in range(2):
        got = [generator.extend(IDS[:, :first])]
        got += [generator.extend(IDS[:, i : i + 1]) for i in range(first, LENGTH)]
        np.testing.assert_allclose(np.concatenate(got, 1), wanted, rtol=1e-5, atol=1e-5)
        generator.reset()


def test_parts_of_any_length_and_inputs_of_any_length():
    model = decoder_only(length=None)
    generator = Generator(model, ROWS, capacity=7)
    got = [generator.extend(IDS[:, a:b]) for a, b in ((0, 2), (2, 5), (5, 7))]
    np.testing.assert_allclose(np.concatenate(got, 1), whole(model, IDS[:, :7]), atol=1e-5)


def test_what_does_not_grow_is_computed_once():
    model = encoder_decoder()
    generator = Generator(model, ROWS, inputs=others(model))
    generator.extend(IDS[:, :3])
    (plan,) = generator._plans.values()
    assert any("encoder" in record.layer for record in plan.once)
    assert not any("encoder/" in record.layer for record in plan.each)
    cross = [record for record in plan.each if "cross_attention" in record.layer]
    assert cross
    assert not any(record.arrays[0].storage.name in ("key", "value") for record in cross)


def test_dropout_that_acts_at_each_call_draws_anew_at_each_step():
    x = Input((LENGTH, 64))
    model = Model(x, layers.Dropout(0.5)(x, training=True))
    generator = Generator(model)
    steps = [generator.extend(np.ones((1, 1, 64)))[0, 0] for _ in range(3)]
    assert all(set(np.unique(step)) == {0.0, 2.0} for step in steps)
    assert not np.array_equal(steps[0], steps[1])
    assert not np.array_equal(steps[1], steps[2])
    y = layers.MultiHeadAttention(2, 3, dropout=0.5)(x, x, training=True, use_causal_mask=True)
    with pytest.raises(UsageError, match="needs whole sequences"):
        Generator(Model(x, y)).extend(np.ones((1, 1, 64)))


def test_weights_that_change_are_seen():
    model = decoder_only()
    generator = Generator(model, ROWS)
    generator.extend(IDS)
    model.set_weights([weight * 1.5 for weight in model.get_weights()])
    generator.reset()
    np.testing.assert_allclose(generator.extend(IDS), whole(model), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", ["numpy", pytest.param("emulator", marks=pytest.mark.emulator)])
@pytest.mark.parametrize("make", [decoder_only, encoder_decoder])
def test_reorder_takes_over_the_past(make, backend):
    model, source = make(), np.repeat(SOURCE[:1], ROWS, 0)
    order = [2, 2, 0]
    ids = np.concatenate([IDS[order, :4], IDS[:, 4:]], 1)
    wanted = whole(model, ids, source)
    model.to(backend)
    generator = Generator(model, ROWS, inputs=others(model, source))
    generator.extend(IDS[:, :4])
    generator.reorder(order)
    np.testing.assert_allclose(generator.extend(IDS[:, 4:]), wanted[:, 4:], rtol=1e-5, atol=1e-5)


# ------------------------------------------------------------------------------- tokens


def naive(model, prompt, row, choose):
    """One token after another from whole sequences, padded with zeros."""
    sequence = list(prompt)
    while len(sequence) < LENGTH:
        ids = np.zeros((1, LENGTH), np.int32)
        ids[0, : len(sequence)] = sequence
        sequence.append(int(choose(whole(model, ids, SOURCE[row : row + 1])[0, len(sequence) - 1])))
    return sequence


@pytest.mark.parametrize("make", MODELS)
def test_greedy_tokens_of_prompts_of_any_lengths(make):
    model = make()
    prompts = [IDS[0, :5].tolist(), IDS[1, :2].tolist(), IDS[2, :3].tolist()]
    wanted = [naive(model, prompt, row, np.argmax) for row, prompt in enumerate(prompts)]
    assert model.generate(prompts, inputs=others(model)) == wanted
    assert all(isinstance(token, int) for token in wanted[0])


def test_the_end_token_ends_a_sequence_and_not_the_others():
    model = decoder_only()
    longest = model.generate(IDS[:, :2])
    end = longest[0][4]
    results = model.generate(IDS[:, :2], end=end)
    for result, sequence in zip(results, longest, strict=True):
        cut = sequence.index(end, 2) + 1 if end in sequence[2:] else LENGTH
        assert result == sequence[:cut]
    assert len(results[0]) < LENGTH


def test_one_prompt_gives_one_sequence_of_the_wanted_length():
    model = decoder_only()
    assert len(model.generate([1, 2], max_length=6)) == 6
    assert model.generate(np.array([[1, 2]]), max_length=6) == [model.generate([1, 2], 6)]


@pytest.mark.parametrize("choice", [{"top_k": 3}, {"top_p": 0.8}, {}])
def test_drawn_tokens_are_those_of_sample(choice):
    model = decoder_only()
    tokens = model.generate([3, 4], temperature=1.5, seed=7, **choice)
    assert tokens == model.generate([3, 4], temperature=1.5, seed=7, **choice)
    from gpunet import random

    stream = random.seeded_stream(7)

    def draw(logits):
        return text.sample(logits[None], temperature=1.5, seed=stream, **choice)[0]

    assert tokens == naive(model, [3, 4], 0, draw)
    assert tokens != model.generate([3, 4], temperature=1.5, seed=8, **choice)


def test_probabilities_give_the_tokens_of_logits():
    with_softmax, without = decoder_only(activation="softmax"), decoder_only()
    without.set_weights(with_softmax.get_weights())
    options = {"temperature": 0.7, "seed": 3}
    assert with_softmax.generate([5], **options) == without.generate([5], **options)


@pytest.mark.parametrize("backend", ["numpy", pytest.param("emulator", marks=pytest.mark.emulator)])
@pytest.mark.parametrize("make", [decoder_only, encoder_decoder])
def test_beams_are_those_of_beam_search(make, backend):
    model, end = make(), 4

    def step(ids):
        padded = np.zeros((len(ids), LENGTH), np.int32)
        padded[:, : ids.shape[1]] = ids
        source = np.repeat(SOURCE[:1], len(ids), 0)
        return whole(model, padded, source)[:, ids.shape[1] - 1]

    prompt = IDS[0, :3].tolist()
    wanted = text.beam_search(step, prompt, end, LENGTH - 3, beams=3)[0].tokens
    model.to(backend)
    inputs = others(model, SOURCE[:1])
    assert model.generate(prompt, end=end, beams=3, inputs=inputs) == wanted


# -------------------------------------------------------------------------- what it refuses


def stack(*middle):
    return Sequential([layers.Embedding(TOKENS, 8, input_shape=(LENGTH,)), *middle])


@pytest.mark.parametrize(
    "make",
    [
        lambda: stack(layers.LSTM(3, return_sequences=True)),
        lambda: stack(layers.Conv1D(3, 2, padding="same")),
        lambda: stack(layers.Flatten()),
        lambda: stack(layers.Softmax(axis=1)),
        lambda: stack(layers.TransformerEncoder(8, 2)),
        lambda: stack(layers.Reshape((4, 18))),
        lambda: stack(layers.BatchNormalization(axis=1)),
    ],
)
def test_layers_that_need_whole_sequences(make):
    with pytest.raises(UsageError, match="needs whole sequences"):
        Generator(make()).extend([[1]])


def test_masks_of_an_encoder_that_are_inputs():
    source, target = Input((5, 4), name="source"), Input((LENGTH,), dtype="int32")
    mask = Input((5,), dtype="bool", name="mask")
    y = layers.Embedding(TOKENS, FEATURES)(target)
    y = layers.TransformerDecoder(16, 2)(y, source, encoder_padding_mask=mask)
    model = Model([source, mask, target], y)
    given = {"source": np.random.default_rng(0).standard_normal((ROWS, 5, 4)), "mask": SOURCE > 4}
    wanted = model.predict([given["source"], given["mask"], IDS], verbose=0)
    generator = Generator(model, ROWS, inputs=given)
    np.testing.assert_allclose(generator.extend(IDS), wanted, rtol=1e-5, atol=1e-5)


def test_attention_that_counts_positions_of_an_encoder_needs_whole_sequences():
    source, target = Input((5, 4), name="source"), Input((LENGTH, 4))
    causal = layers.MultiHeadAttention(2, 3)(target, source, use_causal_mask=True)
    near = layers.MultiHeadAttention(2, 3, sliding_window=2)(target, source)
    for y in (causal, near):
        generator = Generator(Model([source, target], y), inputs={"source": np.zeros((1, 5, 4))})
        with pytest.raises(UsageError, match="needs whole sequences"):
            generator.extend(np.zeros((1, 1, 4)))


def test_calls_that_make_no_sense():
    model = decoder_only()
    generator = Generator(model, ROWS)
    with pytest.raises(UsageError, match="do not fit the 9"):
        generator.extend(np.zeros((ROWS, LENGTH + 1), int))
    with pytest.raises(ArgumentError, match=r"\(3, positions"):
        generator.extend([[1]])
    with pytest.raises(ArgumentError, match="below 3"):
        generator.reorder([0, 1, 3])
    with pytest.raises(ArgumentError, match="3 numbers"):
        generator.reorder([0])
    with pytest.raises(ShapeError):
        generator.extend(np.zeros((ROWS, 1, 2), int))
    with pytest.raises(ArgumentError, match="capacity"):
        Generator(decoder_only(length=None))
    with pytest.raises(ArgumentError, match="make it longer"):
        Generator(model, capacity=10)
    with pytest.raises(ArgumentError, match="but for the one that grows"):
        Generator(encoder_decoder())
    with pytest.raises(ArgumentError, match="3 samples"):
        Generator(encoder_decoder(), ROWS, inputs={"source": SOURCE[:2]}).extend(IDS[:, :1])
    model.to("numpy", dtype="float64")
    with pytest.raises(UsageError, match="was moved"):
        generator.extend(IDS[:, :1])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (([],), "prompt"),
        (([1.5],), "prompt"),
        (("word",), "prompt"),
        (([[1], []],), "prompt"),
        ((list(range(LENGTH)),), "no room"),
        (([1, 2], 2), "no room"),
        (([1, 2], 20), "longer"),
    ],
)
def test_prompts_that_are_none(arguments, says):
    with pytest.raises(ArgumentError, match=says):
        decoder_only().generate(*arguments)
