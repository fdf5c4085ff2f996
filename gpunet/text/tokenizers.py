"""Tokenizers: text to integers and back.

Token numbers start with the special tokens: 0 is the padding that `gpunet.layers.Embedding` masks,
1 stands for what the vocabulary lacks, as in Keras.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from gpunet.errors import ArgumentError, UsageError
from gpunet.utils import pad_sequences

PADDING, UNKNOWN = "", "[UNK]"
_WORDS_AND_MARKS = re.compile(r"\w+|[^\w\s]")
# As in GPT-2 (Radford et al., 2019) a word takes the space before it along: nothing is lost.
_PIECES = re.compile(r" ?\w+| ?[^\w\s]+|\s+")

Ids = np.ndarray[Any, Any]


class Tokenizer(ABC):
    """What all tokenizers can do. Call `fit` first, or `from_config`.

    Args:
        special_tokens: further tokens that no text holds, such as "[START]" and "[END]"; they
            come behind the padding and the unknown.

    Attributes:
        vocabulary: the tokens; a token's number is its place.
    """

    def __init__(self, special_tokens: Sequence[str] = ()) -> None:
        self.special_tokens = (PADDING, UNKNOWN, *special_tokens)
        if len(set(self.special_tokens)) < len(self.special_tokens):
            raise ArgumentError(
                f"special_tokens must differ from each other and from {UNKNOWN!r}, got "
                f"{list(special_tokens)}."
            )
        self.vocabulary: list[str] = list(self.special_tokens)
        self._numbers: dict[str, int] = {}
        self._number()

    @abstractmethod
    def fit(self, texts: str | Iterable[str], vocabulary_size: int | None = None) -> Tokenizer:
        """Make the vocabulary from texts.

        Args:
            texts: a text, or several.
            vocabulary_size: how many tokens there may be, special ones included.

        Returns:
            The tokenizer itself.
        """

    @abstractmethod
    def split(self, text: str) -> list[str]:
        """The text as a list of tokens."""

    @abstractmethod
    def join(self, tokens: Sequence[str]) -> str:
        """The text of a list of tokens."""

    @property
    def vocabulary_size(self) -> int:
        """How many tokens there are: the ``input_dim`` of an Embedding."""
        return len(self.vocabulary)

    def number(self, token: str) -> int:
        """The number of a token.

        Raises:
            ArgumentError: the vocabulary lacks it.
        """
        if token not in self._numbers:
            raise ArgumentError(f"{token!r} is not among the {len(self.vocabulary)} tokens.")
        return self._numbers[token]

    def encode(self, text: str) -> Ids:
        """The numbers of a text's tokens, (tokens,) int32."""
        if self.vocabulary_size == len(self.special_tokens):
            raise UsageError(f"{type(self).__name__} has no vocabulary: call fit(texts) first.")
        unknown = self._numbers[UNKNOWN]
        return np.array([self._numbers.get(t, unknown) for t in self.split(text)], np.int32)

    def encode_batch(
        self, texts: Iterable[str], length: int | None = None, padding: str = "post"
    ) -> Ids:
        """Several texts as one array (texts, length), filled up with 0; see `pad_sequences`."""
        return pad_sequences(
            [self.encode(text) for text in texts], length, padding=padding, truncating="post"
        )

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token numbers; special tokens are left out.

        Raises:
            ArgumentError: a number that no token has.
        """
        numbers = [int(i) for i in ids]
        wrong = [i for i in numbers if not 0 <= i < self.vocabulary_size]
        if wrong:
            raise ArgumentError(
                f"token numbers go from 0 to {self.vocabulary_size - 1}, got {wrong[0]}."
            )
        special = len(self.special_tokens)
        return self.join([self.vocabulary[i] for i in numbers if i >= special])

    def get_config(self) -> dict[str, Any]:
        """Everything that makes up the tokenizer, ready for JSON."""
        return {"special_tokens": list(self.special_tokens[2:]), "vocabulary": self.vocabulary}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Tokenizer:
        """The tokenizer of `get_config`."""
        tokenizer = cls(config["special_tokens"])
        tokenizer._use(config["vocabulary"][len(tokenizer.special_tokens) :])
        return tokenizer

    def _use(self, tokens: Iterable[str]) -> Tokenizer:
        self.vocabulary = [*self.special_tokens, *tokens]
        self._number()
        return self

    def _number(self) -> None:
        self._numbers = {token: i for i, token in enumerate(self.vocabulary)}

    def _use_commonest(self, counts: Counter[str], vocabulary_size: int | None) -> Tokenizer:
        """The commonest tokens, equally common ones by name."""
        room = self._room(vocabulary_size, len(counts))
        ordered = sorted(counts, key=lambda token: (-counts[token], token))
        return self._use(t for t in ordered[:room] if t not in self.special_tokens)

    def _room(self, vocabulary_size: int | None, wanted: int) -> int:
        """How many tokens fit beside the special ones."""
        room = wanted if vocabulary_size is None else vocabulary_size - len(self.special_tokens)
        if room < 1:
            raise ArgumentError(
                f"vocabulary_size {vocabulary_size} leaves no room beside the "
                f"{len(self.special_tokens)} special tokens {list(self.special_tokens)}."
                if wanted
                else f"{type(self).__name__} needs texts to make a vocabulary from, got none."
            )
        return room


def _as_list(texts: str | Iterable[str]) -> list[str]:
    listed = [texts] if isinstance(texts, str) else list(texts)
    wrong = next((text for text in listed if not isinstance(text, str)), None)
    if wrong is not None:
        raise ArgumentError(f"texts must be strings, got {type(wrong).__name__} {wrong!r}.")
    return listed


class CharacterTokenizer(Tokenizer):
    """A token for each character.

    Example:
        >>> tokenizer = CharacterTokenizer().fit("banana")
        >>> tokenizer.vocabulary
        ['', '[UNK]', 'a', 'n', 'b']
        >>> tokenizer.encode("nab!")
        array([3, 2, 4, 1], dtype=int32)
        >>> tokenizer.decode([4, 2, 3])
        'ban'
    """

    def fit(self, texts: str | Iterable[str], vocabulary_size: int | None = None) -> Tokenizer:
        """Make the vocabulary from the characters of texts, the commonest first."""
        counts: Counter[str] = Counter()
        for text in _as_list(texts):
            counts.update(text)
        return self._use_commonest(counts, vocabulary_size)

    def split(self, text: str) -> list[str]:
        """The characters."""
        return list(text)

    def join(self, tokens: Sequence[str]) -> str:
        """The characters in a row."""
        return "".join(tokens)


class WordTokenizer(Tokenizer):
    """A token for each word and each punctuation mark.

    Args:
        special_tokens: further tokens, as in `Tokenizer`.
        lower: whether to turn everything into small letters.

    Example:
        >>> tokenizer = WordTokenizer(["[START]"]).fit(["To be, or not to be."])
        >>> tokenizer.encode("To be loud.")
        array([4, 3, 1, 6], dtype=int32)
        >>> tokenizer.decode([4, 3, 5, 7])
        'to be, not'
    """

    def __init__(self, special_tokens: Sequence[str] = (), lower: bool = True) -> None:
        super().__init__(special_tokens)
        self.lower = lower

    def fit(self, texts: str | Iterable[str], vocabulary_size: int | None = None) -> Tokenizer:
        """Make the vocabulary from the words of texts, the commonest first."""
        counts: Counter[str] = Counter()
        for text in _as_list(texts):
            counts.update(self.split(text))
        return self._use_commonest(counts, vocabulary_size)

    def split(self, text: str) -> list[str]:
        """Words and punctuation marks."""
        return _WORDS_AND_MARKS.findall(text.lower() if self.lower else text)

    def join(self, tokens: Sequence[str]) -> str:
        """Words with spaces between them, punctuation marks without."""
        return re.sub(r" (?=[.,;:!?)\]}%…])", "", " ".join(tokens))

    def get_config(self) -> dict[str, Any]:
        """Everything that makes up the tokenizer."""
        return {**super().get_config(), "lower": self.lower}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Tokenizer:
        """The tokenizer of `get_config`."""
        tokenizer = super().from_config(config)
        tokenizer.lower = bool(config["lower"])  # type: ignore[attr-defined]
        return tokenizer


class BytePairTokenizer(Tokenizer):
    """Byte-pair encoding: the commonest neighbours become one token, again and again.

    It starts from the 256 bytes of UTF-8, so any text can be encoded and comes back as it was. The
    method is that of Sennrich et al., "Neural machine translation of rare words with subword
    units" (2016), on bytes as in GPT-2 (Radford et al., 2019). In the vocabulary a byte is the
    character of its number (latin-1).

    Attributes:
        merges: pairs of tokens in the order in which they were joined.

    Example:
        >>> tokenizer = BytePairTokenizer().fit("low lower lowest slow", vocabulary_size=262)
        >>> tokenizer.merges
        [('o', 'w'), ('l', 'ow'), ('low', 'e'), (' ', 'lowe')]
        >>> tokenizer.decode(tokenizer.encode("lowest, naïve"))
        'lowest, naïve'
    """

    def __init__(self, special_tokens: Sequence[str] = ()) -> None:
        super().__init__(special_tokens)
        self.merges: list[tuple[str, str]] = []
        self._ranks: dict[tuple[str, str], int] = {}
        self._known: dict[str, list[str]] = {}  # pieces that were split before

    def fit(self, texts: str | Iterable[str], vocabulary_size: int | None = None) -> Tokenizer:
        """Learn merges until the vocabulary is full, 1,000 tokens by default."""
        size = 1000 if vocabulary_size is None else vocabulary_size
        if size < len(self.special_tokens) + 256:
            raise ArgumentError(
                f"BytePairTokenizer needs a vocabulary_size of at least "
                f"{len(self.special_tokens) + 256} (special tokens and bytes), got {size}."
            )
        counts: Counter[str] = Counter()
        for text in _as_list(texts):
            counts.update(_PIECES.findall(text))
        return self._use_merges(_learn(counts, size - 256 - len(self.special_tokens)))

    def split(self, text: str) -> list[str]:
        """The tokens of each word, found by joining pairs in the order they were learned."""
        tokens: list[str] = []
        for piece in _PIECES.findall(text):
            if piece not in self._known:
                self._known[piece] = self._split_piece(piece)
            tokens += self._known[piece]
        return tokens

    def _split_piece(self, piece: str) -> list[str]:
        parts = list(piece.encode().decode("latin-1"))
        while len(parts) > 1:
            pair = min(pairwise(parts), key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if pair not in self._ranks:
                break
            parts = _joined(parts, pair)
        return parts

    def join(self, tokens: Sequence[str]) -> str:
        """The text; bytes that are no UTF-8, in the middle of a character, become U+FFFD."""
        return "".join(tokens).encode("latin-1").decode("utf-8", "replace")

    def get_config(self) -> dict[str, Any]:
        """Everything that makes up the tokenizer."""
        config = super().get_config()
        del config["vocabulary"]  # it follows from the merges
        return {**config, "merges": [list(pair) for pair in self.merges]}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Tokenizer:
        """The tokenizer of `get_config`."""
        tokenizer = cls(config["special_tokens"])
        return tokenizer._use_merges([(a, b) for a, b in config["merges"]])

    def _use_merges(self, merges: list[tuple[str, str]]) -> Tokenizer:
        self.merges = merges
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._known.clear()
        return self._use([*map(chr, range(256)), *(a + b for a, b in merges)])


def _learn(counts: Counter[str], limit: int) -> list[tuple[str, str]]:
    """The merges of words with these counts."""
    words = [list(word.encode().decode("latin-1")) for word in counts]
    times = list(counts.values())
    pairs: Counter[tuple[str, str]] = Counter()
    places: dict[tuple[str, str], set[int]] = defaultdict(set)  # words that hold a pair

    def count(word: int, sign: int) -> None:
        for pair in pairwise(words[word]):
            pairs[pair] += sign * times[word]
            places[pair].add(word)

    for word in range(len(words)):
        count(word, 1)
    merges: list[tuple[str, str]] = []
    while len(merges) < limit and pairs:
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        if pairs[best] < 2:
            break
        merges.append(best)
        for word in places.pop(best):
            count(word, -1)
            words[word] = _joined(words[word], best)
            count(word, 1)
        del pairs[best]
    return merges


def _joined(parts: Sequence[str], pair: tuple[str, str]) -> list[str]:
    """The parts with each occurrence of the pair as one part."""
    result: list[str] = []
    i = 0
    while i < len(parts):
        is_pair = tuple(parts[i : i + 2]) == pair
        result.append("".join(pair) if is_pair else parts[i])
        i += 2 if is_pair else 1
    return result
