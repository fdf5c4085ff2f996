"""Tokenizers, padding, vectorization and sampling."""

import itertools
import json

import numpy as np
import pytest

from gpunet import text
from gpunet.errors import ArgumentError, ShapeError, UsageError
from gpunet.utils import set_random_seed

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "Pack my box — naïve déjà vu, 日本語 🙂!\n\tend",
]
TOKENIZERS = [text.CharacterTokenizer, text.WordTokenizer, text.BytePairTokenizer]


# ------------------------------------------------------------------------- tokenizers


@pytest.mark.parametrize("make", TOKENIZERS)
def test_config_round_trip(make):
    tokenizer = make(["[START]", "[END]"]).fit(TEXTS)
    config = json.loads(json.dumps(tokenizer.get_config()))
    again = make.from_config(config)
    assert again.vocabulary == tokenizer.vocabulary
    for one in TEXTS:
        np.testing.assert_array_equal(again.encode(one), tokenizer.encode(one))
    assert tokenizer.number("[END]") == 3


@pytest.mark.parametrize("make", [text.CharacterTokenizer, text.BytePairTokenizer])
def test_known_text_comes_back_as_it_was(make):
    tokenizer = make().fit(TEXTS)
    for one in TEXTS:
        assert tokenizer.decode(tokenizer.encode(one)) == one


def test_byte_pairs_encode_any_text():
    tokenizer = text.BytePairTokenizer().fit(TEXTS[0] * 3, vocabulary_size=280)
    assert tokenizer.vocabulary_size <= 280
    assert tokenizer.decode(tokenizer.encode(TEXTS[1])) == TEXTS[1]
    assert len(tokenizer.encode(TEXTS[0])) < len(TEXTS[0])


def test_byte_pairs_are_those_of_the_textbook():
    """Against a merge loop that counts everything anew each time."""
    words = "low low low low low lower lower newest newest newest newest newest newest widest"
    learned = text.BytePairTokenizer().fit(words, vocabulary_size=258 + 8).merges
    pieces = [[" ", *word] for word in words.split()]
    pieces[0] = pieces[0][1:]
    expected = []
    for _ in range(8):
        pairs = [pair for piece in pieces for pair in itertools.pairwise(piece)]
        best = max(sorted(set(pairs), reverse=True), key=pairs.count)
        expected.append(best)
        for piece in pieces:
            i = 0
            while i < len(piece) - 1:
                if (piece[i], piece[i + 1]) == best:
                    piece[i : i + 2] = ["".join(best)]
                i += 1
    assert learned == expected


def test_special_tokens_are_left_out_of_decoded_text():
    tokenizer = text.WordTokenizer(["[START]"]).fit("one two")
    ids = [tokenizer.number("[START]"), *tokenizer.encode("two one three"), 0, 0]
    assert tokenizer.decode(ids) == "two one"


def test_vocabulary_size_keeps_the_commonest():
    tokenizer = text.CharacterTokenizer().fit("aaabbc", vocabulary_size=4)
    assert tokenizer.vocabulary == ["", "[UNK]", "a", "b"]
    np.testing.assert_array_equal(tokenizer.encode("abc"), [2, 3, 1])


def test_encode_batch_pads_and_cuts():
    tokenizer = text.CharacterTokenizer().fit("abc")
    np.testing.assert_array_equal(tokenizer.encode_batch(["a", "abc"]), [[2, 0, 0], [2, 3, 4]])
    np.testing.assert_array_equal(tokenizer.encode_batch(["a", "abc"], 2), [[2, 0], [2, 3]])


@pytest.mark.parametrize("make", TOKENIZERS)
def test_tokenizer_mistakes(make):
    with pytest.raises(UsageError, match="call fit"):
        make().encode("a")
    with pytest.raises(ArgumentError, match="strings"):
        make().fit([b"bytes"])
    with pytest.raises(ArgumentError, match="vocabulary_size"):
        make().fit("abc", vocabulary_size=2)
    with pytest.raises(ArgumentError, match="differ"):
        make(["[UNK]"])
    with pytest.raises(ArgumentError, match="token numbers go from 0"):
        make().fit("abc").decode([10**6])
    with pytest.raises(ArgumentError, match="is not among"):
        make().fit("abc").number("[NONE]")


# ---------------------------------------------------------------------------- padding


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [[0, 0, 1], [2, 3, 4], [0, 0, 0]]),
        ({"padding": "post"}, [[1, 0, 0], [2, 3, 4], [0, 0, 0]]),
        ({"maxlen": 2}, [[0, 1], [3, 4], [0, 0]]),
        ({"maxlen": 2, "truncating": "post", "value": 9}, [[9, 1], [2, 3], [9, 9]]),
        ({"maxlen": 0}, [[], [], []]),
    ],
)
def test_pad_sequences(options, expected):
    padded = text.pad_sequences([[1], (2, 3, 4), np.array([])], **options)
    np.testing.assert_array_equal(padded, expected)
    assert padded.dtype == np.int32


def test_pad_sequences_of_vectors():
    padded = text.pad_sequences([[[1.0, 2.0]], [[3.0, 4.0]] * 2], dtype="float32")
    np.testing.assert_array_equal(padded, [[[0, 0], [1, 2]], [[3, 4], [3, 4]]])


def test_pad_sequences_mistakes():
    with pytest.raises(ArgumentError, match="'pre' or 'post'"):
        text.pad_sequences([[1]], padding="left")
    with pytest.raises(ArgumentError, match="brackets"):
        text.pad_sequences([1, 2])
    with pytest.raises(ArgumentError, match="one shape"):
        text.pad_sequences([[[1]], [[1, 2]]])


# ---------------------------------------------------------------------- vectorization


def test_vectorization_modes():
    data = ["the cat sat on the mat", "The dog!"]
    counts = text.TextVectorization(output_mode="count", vocabulary=["the", "cat"])
    np.testing.assert_array_equal(counts(data), [[3, 2, 1], [1, 1, 0]])
    hot = text.TextVectorization(output_mode="multi_hot", vocabulary=["the", "cat"])
    np.testing.assert_array_equal(hot(data), [[1, 1, 1], [1, 1, 0]])
    weighted = text.TextVectorization(output_mode="tf_idf", max_tokens=3)
    weighted.adapt(data)
    the = np.log(1 + 2 / 3)
    np.testing.assert_allclose(weighted(data), [[4 * the, 2 * the], [the, the]], rtol=1e-6)


def test_vectorization_options():
    pairs = text.TextVectorization(ngrams=2, split="whitespace", standardize="lower")
    pairs.adapt(["A b c"])
    assert pairs.get_vocabulary()[2:] == ["c", "b c", "b", "a b", "a"]
    letters = text.TextVectorization(split="character", output_sequence_length=2)
    letters.adapt(["abc"])
    assert letters("cab").shape == (2,)
    whole = text.TextVectorization(split=None, vocabulary=["new york"])
    np.testing.assert_array_equal(whole(["New York!", "york"]), [[2], [1]])


@pytest.mark.parametrize("mode", ["int", "multi_hot", "count", "tf_idf"])
def test_vectorization_config_round_trip(mode):
    first = text.TextVectorization(output_mode=mode, max_tokens=7)
    first.adapt(TEXTS)
    again = text.TextVectorization.from_config(json.loads(json.dumps(first.get_config())))
    np.testing.assert_array_equal(again(TEXTS), first(TEXTS))


def test_vectorization_mistakes():
    with pytest.raises(UsageError, match="adapt"):
        text.TextVectorization()("a")
    with pytest.raises(ArgumentError, match="known are"):
        text.TextVectorization(split="words")
    with pytest.raises(ArgumentError, match="takes strings"):
        text.TextVectorization().adapt([3])
    with pytest.raises(ArgumentError, match="more than once"):
        text.TextVectorization(vocabulary=["a", "a"])
    with pytest.raises(ArgumentError, match="exceeds max_tokens"):
        text.TextVectorization(max_tokens=3, vocabulary=["a", "b"])
    with pytest.raises(UsageError, match="tf_idf needs"):
        text.TextVectorization(output_mode="tf_idf", vocabulary=["a"])("a")


# --------------------------------------------------------------------------- sampling

LOGITS = np.log([0.5, 0.3, 0.15, 0.05])


def frequencies(**options):
    drawn = text.sample(np.tile(LOGITS, (20_000, 1)), seed=1, **options)
    return np.bincount(drawn, minlength=4) / len(drawn)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.5, 0.3, 0.15, 0.05]),
        ({"temperature": 0.5}, np.square([0.5, 0.3, 0.15, 0.05]) / 0.365),
        ({"top_k": 2}, [0.625, 0.375, 0, 0]),
        ({"top_p": 0.79}, [0.625, 0.375, 0, 0]),
        ({"top_p": 0.81}, [10 / 19, 6 / 19, 3 / 19, 0]),
        ({"top_p": 1e-9}, [1, 0, 0, 0]),
        ({"top_k": 3, "top_p": 0.5}, [1, 0, 0, 0]),
        ({"temperature": 0}, [1, 0, 0, 0]),
    ],
)
def test_sample_follows_the_probabilities(options, expected):
    np.testing.assert_allclose(frequencies(**options), expected, atol=0.012)


def test_sample_follows_the_seed():
    logits = np.zeros((3, 5, 100))
    set_random_seed(3)
    first, second = text.sample(logits), text.sample(logits)
    set_random_seed(3)
    assert (text.sample(logits) == first).all()
    assert (first != second).any()
    assert first.shape == (3, 5)


def test_sample_never_takes_what_is_masked():
    logits = np.full((1000, 7), -np.inf)
    logits[:, 3] = 0.0
    assert (text.sample(logits) == 3).all()


def test_sampling_mistakes():
    for options in ({"temperature": -1}, {"top_k": 0}, {"top_p": 0}, {"top_p": 1.1}):
        with pytest.raises(ArgumentError, match=next(iter(options))):
            text.sample([0.0, 1.0], **options)
    with pytest.raises(ArgumentError, match="NaN"):
        text.greedy([np.nan, 1.0])
    with pytest.raises(ArgumentError, match="hides every token"):
        text.sample([-np.inf, -np.inf])
    with pytest.raises(ShapeError, match="tokens"):
        text.greedy(1.0)


def test_beam_search_finds_what_greedy_misses():
    """Token 1 is likelier at first, but what follows token 2 is certain."""
    table = np.full((5, 5), 1e-9)
    table[0, 1], table[0, 2] = 0.6, 0.4
    table[1, 1:4] = 1 / 3
    table[2, 4] = table[3, 4] = 1.0
    table /= table.sum(axis=1, keepdims=True)

    def step(ids):
        return np.log(table[ids[:, -1]])

    one = text.beam_search(step, 0, 4, 6, beams=1, length_penalty=0.0)[0]
    best = text.beam_search(step, [0], 4, 6, beams=4, length_penalty=0.0)
    assert best[0].tokens == [0, 2, 4]
    assert best[0].log_probability == pytest.approx(np.log(0.4), abs=1e-6)
    assert one.log_probability < best[0].log_probability
    assert [h.score for h in best] == sorted((h.score for h in best), reverse=True)


def test_beam_search_equals_exhaustive_search():
    """With as many beams as there are sequences nothing is lost."""
    rng = np.random.default_rng(0)
    tables = np.log(rng.dirichlet(np.ones(3), size=(3, 3)))  # (length, last token, next)

    def step(ids):
        return tables[ids.shape[1] - 1, ids[:, -1]]

    def score(tokens):
        return sum(tables[i, a, b] for i, (a, b) in enumerate(itertools.pairwise(tokens)))

    every = [[0, *rest] for n in (1, 2, 3) for rest in itertools.product(range(3), repeat=n)]
    complete = [t for t in every if 2 not in t[1:-1] and (t[-1] == 2 or len(t) == 4)]
    best = max(complete, key=score)
    found = text.beam_search(step, 0, 2, 3, beams=50, length_penalty=0.0)[0]
    assert found.tokens == best
    assert found.log_probability == pytest.approx(score(best))


def test_beam_search_mistakes():
    with pytest.raises(ArgumentError, match="at least one beam"):
        text.beam_search(lambda ids: ids, 0, 1, 3, beams=0)
    with pytest.raises(ShapeError, match="must return logits"):
        text.beam_search(lambda ids: np.zeros(3), 0, 1, 3)
