"""The character models on a text whose entropy is known, for which no plays are needed."""

import numpy as np
import pytest

from gpunet.text import CharacterTokenizer

WORDS = ["all ", "bread ", "cold ", "dogs ", "eat ", "fresh ", "go ", "home ", "in ", "july\n"]
# Each word is as likely as the others, and its first letter says which one it is.
ENTROPY = np.log2(len(WORDS)) / np.mean([len(word) for word in WORDS])

PLAY = """# Macbeth

### SCENE I. A desert place.

_Thunder and lightning. Enter three
Witches_

**First Witch**|
When shall we three meet again|
In thunder -- [or] in rain?

_Exeunt_

**ALL**|
Fair is _(Aside)_ foul.
""".replace("|", "  ")


@pytest.fixture
def char_lm(example, monkeypatch):
    module = example("char_lm")
    monkeypatch.setattr(module, "WINDOW", 32)
    return module


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(1)
    return ["".join(rng.choice(WORDS, count)) for count in (10_000, 1000)]


@pytest.fixture(scope="module")
def tokenizer(texts):
    return CharacterTokenizer().fit(texts[0])


def test_what_is_spoken_is_left(char_lm):
    assert char_lm.spoken(PLAY) == (
        "First Witch\nWhen shall we three meet again\nIn thunder -- or in rain?\n\n"
        "ALL\nFair is  foul.\n\n"
    )


def test_ngrams_mix_counts_as_witten_and_bell_do(char_lm):
    model = char_lm.NGrams([0, 1, 0, 1, 0, 2], 2, 3)
    single = (np.array([3, 2, 1]) + 3 / 3) / (6 + 3)  # six characters of three kinds
    after_0 = (np.array([0, 2, 1]) + 2 * single) / (3 + 2)  # three of two kinds
    after_2 = single  # 2 stands at the end alone
    p = model.probabilities(np.array([0, 1, 2, 6, 7, 8]))
    np.testing.assert_allclose(p, [*after_0, *after_2])


def test_ngrams_are_distributions_after_any_context(char_lm):
    rng = np.random.default_rng(1)
    model = char_lm.NGrams(rng.integers(0, 5, 300), 4, 6)  # 5 never comes
    contexts = rng.integers(0, 6**3, 100)
    p = model.probabilities((contexts[:, None] * 6 + np.arange(6)).ravel()).reshape(100, 6)
    assert p.min() > 0
    np.testing.assert_allclose(p.sum(axis=1), 1)


def test_ngrams_come_near_the_entropy(char_lm, texts, tokenizer):
    known, unseen = map(tokenizer.encode, texts)
    bits = char_lm.NGrams(known, 5, tokenizer.vocabulary_size).bits(unseen)
    assert ENTROPY - 0.02 < bits < ENTROPY + 0.02


@pytest.mark.parametrize(("name", "learning_rate"), [("recurrent", 0.01), ("transformer", 0.005)])
def test_networks_come_near_the_entropy(char_lm, texts, tokenizer, name, learning_rate):
    known, unseen = map(tokenizer.encode, texts)
    model = getattr(char_lm, name)(tokenizer.vocabulary_size)
    char_lm.train(model, known, 100, 32, learning_rate)
    bits = char_lm.bits(model, unseen)
    assert ENTROPY - 0.01 < bits < ENTROPY + 0.04  # below would mean that it sees what comes
    cold, warm = char_lm.write(model, tokenizer, texts[1][: char_lm.WINDOW], (0.01, 1.0), 100)
    assert len(cold) == len(warm) == 100
    words = set("".join(warm).replace("\n", "\n ").split(" ")[1:-1])
    assert len(words & {word.strip(" ") for word in WORDS}) >= 0.8 * len(words)


def test_windows_are_followed_by_what_comes(char_lm):
    x, y = char_lm.windows(np.arange(200), [0, 100])
    assert x.shape == y.shape == (2, char_lm.WINDOW)
    np.testing.assert_array_equal(y, x + 1)
    assert x[:, 0].tolist() == [0, 100]


def test_missing_plays_are_one_sentence(char_lm, monkeypatch):
    monkeypatch.setattr(char_lm, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"python -m pip install 'gpunet\[examples\]'"):
        char_lm.load()
