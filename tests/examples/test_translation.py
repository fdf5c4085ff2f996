"""Translation of a made-up language, which num2words is not for; a short training each."""

import numpy as np
import pytest

ENGLISH = [f"{tens}-{ones}" for tens in ["twenty", "thirty", "forty"] for ones in "abcdefgh"]
ENGLISH += [f"{word} and {other}" for word in ENGLISH[:8] for other in "xyz"]


def in_french(text):
    """Tens and ones change places; "and" is left out; "h" becomes two words."""
    first, *rest = text.replace("-", " ").replace("and ", "").split()
    return "-".join([*rest, first.upper()]).replace("h", "h-bis").lower()


FRENCH = [in_french(text) for text in ENGLISH]


@pytest.fixture
def translation(example):
    return example("translation")


@pytest.fixture
def pairs(translation):
    return translation.Pairs(ENGLISH, FRENCH)


def test_sentences_come_back_from_their_numbers(pairs):
    words = pairs.target(FRENCH)
    assert [pairs.sentence(row) for row in words] == FRENCH
    assert (words == pairs.end).sum(axis=1).tolist() == [1] * len(FRENCH)
    assert set(words[:, -1]) == {0, pairs.end}  # the longest one fits exactly


def test_the_decoder_is_given_the_word_before(pairs):
    words = pairs.target(FRENCH)
    given = pairs.given(words)
    assert (given[:, 0] == pairs.start).all()
    np.testing.assert_array_equal(given[:, 1:], words[:, :-1])


@pytest.mark.parametrize("name", ["recurrent", "transformer"])
def test_no_word_depends_on_the_ones_after_it(translation, pairs, name):
    model, rng = getattr(translation, name)(pairs), np.random.default_rng(1)
    source = pairs.source(ENGLISH[:4])
    given = rng.integers(0, pairs.french.vocabulary_size, (4, pairs.rows), np.int32)
    other = given.copy()
    other[:, 3:] = rng.integers(0, pairs.french.vocabulary_size, other[:, 3:].shape)
    first, second = (model.predict([source, g], verbose=0) for g in (given, other))
    np.testing.assert_array_equal(first[:, :3], second[:, :3])
    assert np.abs(first[:, 3:] - second[:, 3:]).max() > 1e-4
    nowhere = model.predict([np.roll(source, 1, axis=0), given], verbose=0)
    assert np.abs(first - nowhere).max() > 1e-4  # it depends on the English sentence, too


@pytest.mark.parametrize("name", ["recurrent", "transformer"])
def test_both_networks_learn_to_translate(translation, pairs, name, capsys):
    model = getattr(translation, name)(pairs)
    translation.train(model, pairs, ENGLISH * 4, FRENCH * 4, epochs=60)
    assert translation.judge(model, pairs, ENGLISH, FRENCH) >= 0.9
    wrong = capsys.readouterr().out.count("wrong: ")
    assert wrong <= 3


def test_sentences_are_those_of_generate(translation, pairs):
    model = translation.transformer(pairs)
    translation.train(model, pairs, ENGLISH, FRENCH, epochs=20)
    found = translation.translate(model, pairs, ENGLISH[:20])
    inputs = {model.inputs[0].name: pairs.source(ENGLISH[:20])}
    generated = model.generate([[pairs.start]] * 20, end=pairs.end, inputs=inputs)
    for row, sequence in zip(found[:, :-1], generated, strict=True):  # with [START] a row more
        assert row[: len(sequence) - 1].tolist() == sequence[1:]
        assert pairs.end in sequence or len(sequence) == pairs.rows
    assert len({tuple(sequence) for sequence in generated}) > 2


def test_attention_adds_up_to_one_and_is_that_of_the_layer(translation, pairs):
    model = translation.recurrent(pairs)
    words = pairs.target(FRENCH[:1])
    weights = translation.attention(model, pairs, ENGLISH[0], words[0])
    assert weights.shape == (pairs.rows, pairs.columns)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    read = np.count_nonzero(pairs.source(ENGLISH[:1]))
    assert 0 < read < pairs.columns
    assert not weights[:, read:].any()  # nothing looks at what is only filled up
    layer = model.get_layer("attention")
    _, encoded = layer.input
    context, _ = layer.output
    taken = translation.Model(model.inputs, [encoded, context])
    inputs = [pairs.source(ENGLISH[:1]), pairs.given(words)]
    encoded, context = taken.predict(inputs, verbose=0)
    said = np.count_nonzero(inputs[1])  # further rows are masked and take nothing
    np.testing.assert_allclose((weights @ encoded[0])[:said], context[0, :said], atol=1e-5)
    assert not context[0, said:].any()


def test_the_picture_is_drawn(translation, pairs, tmp_path):
    pytest.importorskip("matplotlib")
    words = pairs.target(FRENCH[:1])[0]
    weights = np.zeros((pairs.rows, pairs.columns))
    translation.draw(weights, pairs, ENGLISH[0], words, tmp_path / "attention.png")
    assert (tmp_path / "attention.png").read_bytes().startswith(b"\x89PNG")


def test_numbers_are_different_and_known_to_num2words(translation):
    pytest.importorskip("num2words", reason="pip install -e '.[examples]'")
    known, unseen = translation.load(300, 50)
    assert [len(texts) for texts in (*known, *unseen)] == [300, 300, 50, 50]
    assert len({*known[0], *unseen[0]}) == 350
    translated = dict(zip(known[0] + unseen[0], known[1] + unseen[1], strict=True))
    translated |= dict(zip(*translation.load(900, 0, below=900)[0], strict=True))
    assert translated["seven hundred and three"] == "sept cent trois"


def test_a_missing_package_is_one_sentence(translation, monkeypatch):
    monkeypatch.setattr(translation, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"python -m pip install 'gpunet\[examples\]'"):
        translation.load(10, 10)
