"""TextVectorization: strings to arrays in one object that learns its vocabulary, as in Keras."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gpunet.errors import ArgumentError, UsageError
from gpunet.utils import pad_sequences

_MARKS = re.compile(f"[{re.escape(string.punctuation)}]")
STANDARDIZE: dict[str, Callable[[str], str]] = {
    "lower_and_strip_punctuation": lambda text: _MARKS.sub("", text.lower()),
    "lower": str.lower,
    "strip_punctuation": lambda text: _MARKS.sub("", text),
}
SPLIT: dict[str, Callable[[str], list[str]]] = {"whitespace": str.split, "character": list}
OUTPUT_MODES = ("int", "multi_hot", "count", "tf_idf")


class TextVectorization:
    """Texts to integers or to bags of words. Keras' layer of this name, as a plain object.

    Strings never reach a device: call it before `fit`, and feed the array that it returns.

    Args:
        max_tokens: the size of the vocabulary, padding and unknown included; None for all.
        standardize: "lower_and_strip_punctuation", "lower", "strip_punctuation" or None.
        split: "whitespace", "character" or None, which takes a text as one token.
        ngrams: also take neighbouring tokens together: 2 adds pairs, 3 pairs and triples.
        output_mode: "int" for token numbers (texts, length); "multi_hot", "count" and "tf_idf" for
            one number a token of the vocabulary, (texts, tokens).
        output_sequence_length: the length in mode "int"; None for the longest text.
        vocabulary: the tokens, without padding and unknown, instead of `adapt`.

    Raises:
        ArgumentError: an unknown option.

    Example:
        >>> vectorize = TextVectorization()
        >>> vectorize.adapt(["the cat sat", "the dog"])
        >>> vectorize.get_vocabulary()
        ['', '[UNK]', 'the', 'sat', 'dog', 'cat']
        >>> vectorize(["The dog!", "the bird sat"])
        array([[2, 4, 0],
               [2, 1, 3]], dtype=int32)
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        standardize: str | None = "lower_and_strip_punctuation",
        split: str | None = "whitespace",
        ngrams: int | None = None,
        output_mode: str = "int",
        output_sequence_length: int | None = None,
        vocabulary: Sequence[str] | None = None,
    ) -> None:
        for name, value, known in (
            ("standardize", standardize, [*STANDARDIZE, None]),
            ("split", split, [*SPLIT, None]),
            ("output_mode", output_mode, list(OUTPUT_MODES)),
        ):
            if value not in known:
                raise ArgumentError(f"{name} of TextVectorization is {value!r}, known are {known}.")
        if ngrams is not None and ngrams < 1:
            raise ArgumentError(f"ngrams of TextVectorization must be at least 1, got {ngrams!r}.")
        self.max_tokens = max_tokens
        self.standardize = standardize
        self.split = split
        self.ngrams = ngrams
        self.output_mode = output_mode
        self.output_sequence_length = output_sequence_length
        self._idf: np.ndarray[Any, Any] | None = None
        self._vocabulary: list[str] = []
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)

    # ------------------------------------------------------------------ the vocabulary

    def adapt(self, data: Iterable[str]) -> None:
        """Learn the vocabulary: the commonest tokens first, equally common ones from z to a."""
        counts: Counter[str] = Counter()
        documents: Counter[str] = Counter()
        texts = self._texts(data)
        for text in texts:
            tokens = self._tokens(text)
            counts.update(tokens)
            documents.update(set(tokens))
        ordered = sorted(counts, key=lambda token: (counts[token], token), reverse=True)
        room = None if self.max_tokens is None else max(self.max_tokens - 2, 0)
        kept = ordered[:room]
        idf = [float(np.log(1 + len(texts) / (1 + documents[token]))) for token in kept]
        self.set_vocabulary(kept, idf)

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[str]:
        """The tokens; a token's number is its place."""
        return ["", "[UNK]", *self._vocabulary] if include_special_tokens else [*self._vocabulary]

    def vocabulary_size(self) -> int:
        """How many tokens there are, padding and unknown included."""
        return len(self._vocabulary) + 2

    def set_vocabulary(
        self, vocabulary: Sequence[str], idf_weights: Sequence[float] | None = None
    ) -> None:
        """Use these tokens (without padding and unknown) and, for "tf_idf", these weights.

        Raises:
            ArgumentError: a token comes twice, or there are more than max_tokens, or not one weight
                a token.
        """
        tokens = list(vocabulary)
        tokens = tokens[2:] if tokens[:2] == ["", "[UNK]"] else tokens
        twice = [token for token, count in Counter(tokens).items() if count > 1]
        if twice:
            raise ArgumentError(f"the vocabulary holds {twice[0]!r} more than once.")
        if self.max_tokens is not None and len(tokens) + 2 > self.max_tokens:
            raise ArgumentError(
                f"the vocabulary of {len(tokens)} tokens, padding and unknown exceeds max_tokens="
                f"{self.max_tokens}."
            )
        if idf_weights is not None and len(idf_weights) != len(tokens):
            raise ArgumentError(
                f"idf_weights must be one number a token, {len(tokens)}, got {len(idf_weights)}."
            )
        self._vocabulary = tokens
        if idf_weights is not None:
            mean = float(np.mean(idf_weights)) if len(tokens) else 0.0  # for unknown tokens
            self._idf = np.array([0.0, mean, *idf_weights], np.float32)

    # ------------------------------------------------------------------------ the call

    def __call__(self, inputs: str | Iterable[str]) -> np.ndarray[Any, Any]:
        """Texts as an array; a single text as one row of it.

        Raises:
            UsageError: there is no vocabulary yet.
        """
        if not self._vocabulary:
            raise UsageError("TextVectorization has no vocabulary: call adapt(texts) first.")
        single = isinstance(inputs, str)
        numbers = {token: i for i, token in enumerate(self._vocabulary, start=2)}
        rows = [
            [numbers.get(token, 1) for token in self._tokens(text)] for text in self._texts(inputs)
        ]
        if self.output_mode == "int":
            length = self.output_sequence_length
            result = pad_sequences(rows, length, padding="post", truncating="post")
        else:
            result = self._bags(rows)
        return np.asarray(result[0]) if single else result

    def _bags(self, rows: Sequence[Sequence[int]]) -> np.ndarray[Any, Any]:
        """One number a token but the padding: (texts, tokens - 1), as in Keras."""
        counts = np.zeros((len(rows), self.vocabulary_size()), np.float32)
        for count, row in zip(counts, rows, strict=True):
            np.add.at(count, np.asarray(row, np.intp), 1.0)
        if self.output_mode == "multi_hot":
            counts = np.minimum(counts, 1.0)
        elif self.output_mode == "tf_idf":
            if self._idf is None:
                raise UsageError("tf_idf needs adapt(texts), or set_vocabulary with idf_weights.")
            counts *= self._idf
        return counts[:, 1:]

    def _texts(self, data: str | Iterable[str]) -> list[str]:
        texts = [data] if isinstance(data, str) else [*np.asarray([*data], object).reshape(-1)]
        wrong = next((text for text in texts if not isinstance(text, str)), None)
        if wrong is not None:
            raise ArgumentError(
                f"TextVectorization takes strings, got {type(wrong).__name__} {wrong!r}."
            )
        return texts

    def _tokens(self, text: str) -> list[str]:
        text = text if self.standardize is None else STANDARDIZE[self.standardize](text)
        words = [text] if self.split is None else SPLIT[self.split](text)
        return [
            " ".join(words[i : i + n])
            for n in range(1, (self.ngrams or 1) + 1)
            for i in range(len(words) - n + 1)
        ]

    # --------------------------------------------------------------------------- configs

    def get_config(self) -> dict[str, Any]:
        """Everything that makes up the object, ready for JSON."""
        return {
            "max_tokens": self.max_tokens,
            "standardize": self.standardize,
            "split": self.split,
            "ngrams": self.ngrams,
            "output_mode": self.output_mode,
            "output_sequence_length": self.output_sequence_length,
            "vocabulary": self.get_vocabulary(include_special_tokens=False) or None,
            "idf_weights": None if self._idf is None else self._idf[2:].tolist(),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> TextVectorization:
        """The object of `get_config`."""
        arguments = dict(config)
        weights, vocabulary = arguments.pop("idf_weights", None), arguments.pop("vocabulary", None)
        made = cls(**arguments)
        if vocabulary is not None:
            made.set_vocabulary(vocabulary, weights)
        return made
