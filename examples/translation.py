"""Translate numbers from English into French, and draw which word looks at which.

    python examples/translation.py                    # NumPy, or an NVIDIA GPU if CuPy finds one
    python examples/translation.py --backend cupy     # insist on the GPU

"seven hundred and three" is "sept cent trois", but "ninety-seven" is "quatre-vingt-dix-sept", four
times twenty, ten, seven: words do not follow each other one by one. Two networks learn it from
10,000 numbers below a million, and are judged by how many of 2,000 others they get right to the
last word. In the first one, a recurrent encoder reads the English words both ways and a decoder
writes the French ones, looking back with attention (Luong et al., arXiv:1508.04025). The second one
is a transformer (Vaswani et al., arXiv:1706.03762), which has nothing but attention.

The numbers in words come from the package num2words: pip install 'gpunet[examples]'. The picture of
the attention is saved as translation.png. On two CPU cores all of it takes about a minute.
"""

import argparse
import os
import sys
import time
from importlib.util import find_spec

import numpy as np

import gpunet
from gpunet import Input, Model, layers, optimizers, schedules
from gpunet.text import WordTokenizer

SHORT = bool(os.environ.get("GPUNET_EXAMPLE_SHORT"))
BATCH = 64


def load(train, test, below=1_000_000):
    """Different numbers in words: (English, French) to learn from, and others to be judged by.

    Small ones are drawn more often than large ones, else hardly any would be below 10,000.
    """
    if find_spec("num2words") is None:
        sys.exit("Words for numbers are missing: python -m pip install 'gpunet[examples]'")
    from num2words import num2words

    rng, weights = np.random.default_rng(1), 1 / np.arange(1000, below + 1000)
    numbers = rng.choice(below, train + test, replace=False, p=weights / weights.sum())
    numbers = rng.permutation(numbers).tolist()
    english, french = ([num2words(n, lang=lang) for n in numbers] for lang in ("en", "fr"))
    return (english[:train], french[:train]), (english[train:], french[train:])


class Pairs:
    """Sentences to rows of word numbers; a French one ends with [END].

    Rows are filled up with 0, which `mask_zero=True` hides from both networks, the loss and the
    accuracy.
    """

    def __init__(self, english, french):
        self.english = WordTokenizer().fit(english)
        self.french = WordTokenizer(["[START]", "[END]"]).fit(french)
        self.start, self.end = self.french.number("[START]"), self.french.number("[END]")
        self.columns = max(len(self.english.encode(text)) for text in english)
        self.rows = max(len(self.french.encode(text)) for text in french) + 1

    def source(self, english):
        """What the encoder reads, (sentences, columns)."""
        return self.english.encode_batch(english, self.columns)

    def target(self, french):
        """What the decoder should say, (sentences, rows)."""
        words = self.french.encode_batch(french, self.rows)
        words[np.arange(len(words)), np.count_nonzero(words, axis=1)] = self.end
        return words

    def given(self, words):
        """What the decoder is given to say these words: [START], then the word before each."""
        words = np.roll(words, 1, axis=1)
        words[:, 0] = self.start
        return words

    def sentence(self, words):
        """The text of what the decoder said."""
        return self.french.decode(words).replace(" - ", "-")


def recurrent(pairs, units=96):
    """Read both ways; the decoder starts from the last states, and looks back at all of them."""
    english, french = Input((pairs.columns,), dtype="int32"), Input((pairs.rows,), dtype="int32")
    words = pairs.english.vocabulary_size, pairs.french.vocabulary_size
    x = layers.Embedding(words[0], units, mask_zero=True)(english)
    encoder = layers.GRU(units // 2, return_sequences=True, return_state=True)
    encoded, *states = layers.Bidirectional(encoder)(x)
    y = layers.Embedding(words[1], units, mask_zero=True)(french)
    decoded = layers.GRU(units, return_sequences=True)(y, initial_state=layers.concatenate(states))
    # context = scores encoded, scores = softmax(decoded encoded^T): (batch, rows, columns)
    context, _ = layers.Attention()([decoded, encoded], return_attention_scores=True)
    y = layers.Dense(units, "tanh")(layers.concatenate([decoded, context]))
    return Model([english, french], layers.Dense(words[1], "softmax")(y), name="recurrent")


def transformer(pairs, features=64):
    """Attention among the English words, among the French ones so far, and from these to those."""
    english, french = Input((pairs.columns,), dtype="int32"), Input((pairs.rows,), dtype="int32")
    words = pairs.english.vocabulary_size, pairs.french.vocabulary_size
    x = layers.TokenAndPositionEmbedding(words[0], pairs.columns, features, mask_zero=True)(english)
    x = layers.TransformerEncoder(2 * features, num_heads=4)(x)
    y = layers.TokenAndPositionEmbedding(words[1], pairs.rows, features, mask_zero=True)(french)
    for _ in range(2):
        y = layers.TransformerDecoder(2 * features, num_heads=4)(y, x)
    return Model([english, french], layers.Dense(words[1], "softmax")(y), name="transformer")


def train(model, pairs, english, french, epochs):
    """Teacher forcing: the decoder is given the right words so far, not its own."""
    steps = epochs * -(-len(english) // BATCH)
    rate = schedules.CosineDecay(0.0, steps, warmup_target=5e-3, warmup_steps=steps // 10)
    model.compile(
        optimizers.Adam(rate, global_clipnorm=1.0),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    words = pairs.target(french)
    model.fit([pairs.source(english), pairs.given(words)], words, BATCH, epochs, verbose=2)


def translate(model, pairs, english):
    """All sentences at once, word by word, always the likeliest one: (sentences, rows).

    What the decoder says at a row depends on the rows before it alone, so that it can be given all
    of them, whatever those behind hold. (For transformers `Model.generate` does the same and
    computes no row twice.)
    """
    source = pairs.source(english)
    words = np.zeros((len(source), pairs.rows), np.int32)
    going = np.ones(len(source), bool)
    for row in range(pairs.rows):
        p = model.predict([source, pairs.given(words)], batch_size=500, verbose=0)
        words[:, row] = np.where(going, p[:, row].argmax(axis=-1), 0)
        going &= words[:, row] != pairs.end
        if not going.any():
            break
    return words


def judge(model, pairs, english, french):
    """The share of sentences with no mistake; prints some of the others."""
    found = translate(model, pairs, english)
    right = (found == pairs.target(french)).all(axis=1)
    for i in np.flatnonzero(~right)[:3]:
        print(f"wrong: {english[i]} -> {pairs.sentence(found[i])}, should be {french[i]}")
    return right.mean()


def attention(model, pairs, english, words):
    """How much each French word looks at each English one, (rows, columns); rows add up to 1.

    A model may end at any tensor of another one: here at the scores of its attention.
    """
    _, scores = model.get_layer("attention").output
    inputs = [pairs.source([english]), pairs.given(words[None])]
    return Model(model.inputs, scores).predict(inputs, verbose=0)[0]


def draw(weights, pairs, english, words, path):
    """The attention as a picture: the darker a square, the more its French word looks there."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = pairs.english.split(english)
    rows = [pairs.french.vocabulary[word] for word in words if word]
    figure, axes = plt.subplots(figsize=(7, 7))
    axes.imshow(weights[: len(rows), : len(columns)], cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows)
    axes.xaxis.tick_top()
    figure.savefig(path, bbox_inches="tight")
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", help="auto, numpy, cupy or emulator")
    parser.add_argument("--epochs", type=int, default=1 if SHORT else 4)
    parser.add_argument("--out", default="translation.png", help="where to save the picture")
    arguments = parser.parse_args()

    gpunet.utils.set_random_seed(1)
    if arguments.backend:  # else what GPUNET_BACKEND names, or auto
        gpunet.set_backend(arguments.backend)
    known, unseen = load(*((1000, 100) if SHORT else (10_000, 2000)))
    pairs = Pairs(known[0] + unseen[0], known[1] + unseen[1])
    models = [recurrent(pairs), transformer(pairs)]
    for model in models:
        print(f"\nThe {model.name} network, {model.count_params():,} weights:")
        start = time.perf_counter()
        train(model, pairs, *known, arguments.epochs)
        seconds = time.perf_counter() - start
        print(f"trained in {seconds:.0f} s")
        share = judge(model, pairs, *unseen)
        print(f"{share:.2%} of {len(unseen[0]):,} unseen numbers are right")

    print()
    long = "ninety-seven thousand, eight hundred and seventy-one"
    for english in ("seven hundred and three", long):
        (words,) = translate(models[0], pairs, [english])
        print(f"{english} -> {pairs.sentence(words)}")
    try:
        weights = attention(models[0], pairs, english, words)
        draw(weights, pairs, english, words, arguments.out)
    except ImportError:
        print("The picture needs matplotlib: python -m pip install 'gpunet[plot]'")
    else:
        print(f"Which word looks at which: {arguments.out}")


if __name__ == "__main__":
    main()
