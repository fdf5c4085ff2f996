"""A chatbot that learns what a question is about, and looks up the answer.

    python examples/chatbot.py                          # talk to it; end with Ctrl-D
    echo "are you a robot?" | python examples/chatbot.py

The conversations are those of the package chatterbot-corpus: pip install 'gpunet[examples]'. A
question becomes a row of numbers, one for each of its words, pairs of words and runs of up to three
letters, weighted by how rare they are (tf-idf). The answer is that of the known question whose row
points in the nearest direction. A small network reads off the row what the question is about, its
intent; it is judged on questions that it has never seen, three times, and helps out where no known
question is near. All of it takes some ten seconds on a laptop.
"""

import argparse
import os
import re
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import gpunet
from gpunet import layers
from gpunet.text import TextVectorization

SHORT = bool(os.environ.get("GPUNET_EXAMPLE_SHORT"))
ENOUGH = 20  # an intent with fewer questions is too small to be learned and tested
NEAR = 0.4  # the least similarity, from 0 to 1, of a question that the bot takes for a known one


def load():
    """What can be asked: {question: (intent, answers)}."""
    package = find_spec("chatterbot_corpus")
    if package is None or find_spec("yaml") is None:
        sys.exit("The conversations are missing: python -m pip install 'gpunet[examples]'")
    import yaml

    known = {}
    for path in sorted(Path(package.origin).parent.glob("data/english/*.yml")):
        for question, answer, *_ in yaml.safe_load(path.read_text("utf-8"))["conversations"]:
            _, answers = known.setdefault(plain(question), (path.stem, []))
            answers.append(answer.strip())
    return known


def plain(text):
    """What does not matter is left out: capital letters, punctuation marks, doubled spaces."""
    return " ".join(re.sub(r"[^\w\s]", "", text.lower()).split())


class Features:
    """Texts as rows of numbers; what was not in the first texts is passed over."""

    def __init__(self, texts):
        words = TextVectorization(ngrams=2, output_mode="tf_idf")
        letters = TextVectorization(split="character", ngrams=3, output_mode="tf_idf")
        self.parts = [words, letters]
        for part in self.parts:
            part.adapt(f" {text} " for text in texts)  # the spaces mark where words begin and end

    def __call__(self, texts):
        """(texts, features): a row of length 1 of the words beside one of the letters."""
        texts = [f" {plain(text)} " for text in texts]
        return np.concatenate([unit(part(texts)[:, 1:]) for part in self.parts], axis=1)


def unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


class Intents:
    """A small network that says what questions are about.

    It has a thousand times more weights than there are questions: dropout keeps it from learning
    them by heart.
    """

    def __init__(self, x, intents, epochs=2 if SHORT else 40):
        self.names = sorted(set(intents))
        labels = np.array([self.names.index(intent) for intent in intents])
        self.model = gpunet.Sequential(
            [
                gpunet.Input(x.shape[1:]),
                layers.Dropout(0.3),
                layers.Dense(64, activation="relu"),
                layers.Dropout(0.5),
                layers.Dense(len(self.names), activation="softmax"),
            ]
        )
        self.model.compile(gpunet.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
        self.model.fit(x, labels, epochs=epochs, verbose=0)

    def __call__(self, x):
        """The likeliest intent of each row."""
        return [self.names[i] for i in self.model.predict(x, verbose=0).argmax(axis=1)]


def accuracy(questions, intents, seed):
    """The share of a fifth of the questions, drawn at random, that the others teach to place."""
    order = np.random.default_rng(seed).permutation(len(questions))
    test, train = np.split(order, [len(order) // 5])
    texts, right = np.array(questions), np.array(intents)
    features = Features(texts[train])
    network = Intents(features(texts[train]), right[train])
    return np.mean(network(features(texts[test])) == right[test])


def mistyped(text, rng):
    """The text with one letter left out or taken for another."""
    place = rng.integers(len(text))
    letter = rng.choice(["", *"abcdefghijklmnopqrstuvwxyz"])
    return text[:place] + letter + text[place + 1 :]


class Chatbot:
    """Answers questions by the known ones: {question: (intent, answers)}."""

    def __init__(self, known):
        self.questions = list(known)
        self.answers = [answers for _, answers in known.values()]
        self.intents = np.array([intent for intent, _ in known.values()])
        self.features = Features(self.questions)
        self.rows = self.features(self.questions)
        counts = Counter(self.intents)
        self.learned = np.array([counts[intent] >= ENOUGH for intent in self.intents])
        self.network = Intents(self.rows[self.learned], self.intents[self.learned])
        self.rng = np.random.default_rng(1)

    def similarities(self, texts):
        """The mean cosine of words and of letters with all known ones, (texts, questions)."""
        return self.features(texts) @ self.rows.T / 2

    def reply(self, text):
        (similarity,) = self.similarities([text])
        best = similarity.argmax()
        if similarity[best] >= NEAR:
            return self.rng.choice(self.answers[best])
        (intent,) = self.network(self.features([text]))
        best = np.where(self.intents == intent, similarity, -1).argmax()
        return f"I do not know. Is it about {intent}? Then try: {self.questions[best]}?"


def measure(bot):
    """Print how good the bot's network and its search are."""
    questions = [q for q, learned in zip(bot.questions, bot.learned, strict=True) if learned]
    intents = bot.intents[bot.learned]
    largest = max(Counter(intents).values()) / len(intents)
    scores = [accuracy(questions, intents, seed) for seed in range(1 if SHORT else 3)]
    each = ", ".join(f"{score:.1%}" for score in scores)
    print(f"{len(questions)} questions on {len(set(intents))} intents:", *sorted(set(intents)))
    print(f"intents of unseen questions: {np.mean(scores):.1%} right, the mean of {each}")
    print(f"the commonest intent alone would be right in {largest:.1%}")
    rng = np.random.default_rng(1)
    found = bot.similarities([mistyped(q, rng) for q in bot.questions]).argmax(axis=1)
    share = np.mean(found == np.arange(len(found)))
    print(f"with a mistyped letter, {share:.1%} of {len(found)} questions find their own answer")


def talk(bot):
    """Answer what comes in, line by line, until it ends."""
    person = sys.stdin.isatty()
    if person:
        print("\nAsk me anything; Ctrl-D ends.")
    while True:
        try:
            text = input("you: " if person else "")
        except (EOFError, KeyboardInterrupt):
            print("\nbot: Goodbye!" if person else "bot: Goodbye!")
            return
        if not person:
            print(f"you: {text}")
        if text.strip():
            print(f"bot: {bot.reply(text)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", help="auto, numpy, cupy or emulator")
    arguments = parser.parse_args()

    gpunet.utils.set_random_seed(1)
    if arguments.backend:  # else what GPUNET_BACKEND names, or auto
        gpunet.set_backend(arguments.backend)
    bot = Chatbot(load())
    measure(bot)
    talk(bot)


if __name__ == "__main__":
    main()
