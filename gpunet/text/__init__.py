"""Text in and out of models: tokenizers, padding, and how to choose the next token.

All of it runs on the host, on strings and small arrays; what reaches a model are integers.
"""

from gpunet.text.ctc import ctc_decode
from gpunet.text.sampling import Hypothesis, beam_search, greedy, sample
from gpunet.text.tokenizers import (
    BytePairTokenizer,
    CharacterTokenizer,
    Tokenizer,
    WordTokenizer,
)
from gpunet.text.vectorization import TextVectorization
from gpunet.utils import pad_sequences

__all__ = [
    "BytePairTokenizer",
    "CharacterTokenizer",
    "Hypothesis",
    "TextVectorization",
    "Tokenizer",
    "WordTokenizer",
    "beam_search",
    "ctc_decode",
    "greedy",
    "pad_sequences",
    "sample",
]
