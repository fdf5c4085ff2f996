"""The chatbot on two subjects of our own, which the package with the conversations is not for."""

import io
import sys

import numpy as np
import pytest

TEMPLATES = {
    "food": ["do you eat {}", "how is {} cooked", "is {} sweet", "who sells fresh {}"],
    "animals": ["do you keep {}", "how loud is {}", "is {} tame", "who feeds young {}"],
}
NOUNS = {
    "food": ["apples", "bread", "cheese", "soup", "noodles", "salad", "plums"],
    "animals": ["dogs", "horses", "owls", "sheep", "wolves", "goats", "bears"],
}
KNOWN = {
    template.format(noun): (subject, [f"{noun}: {number}"])
    for subject, templates in TEMPLATES.items()
    for number, template in enumerate(templates)
    for noun in NOUNS[subject]
}


@pytest.fixture
def chatbot(example):
    return example("chatbot")


def test_intents_of_unseen_questions_are_learned(chatbot):
    questions, intents = list(KNOWN), [intent for intent, _ in KNOWN.values()]
    scores = [chatbot.accuracy(questions, intents, seed) for seed in range(3)]
    assert np.mean(scores) >= 0.9  # guessing gets 0.5


def test_a_question_with_a_mistyped_letter_finds_its_answer(chatbot):
    bot, rng = chatbot.Chatbot(KNOWN), np.random.default_rng(1)
    assert bot.reply("How is SOUP cooked?") == "soup: 1"
    found = bot.similarities([chatbot.mistyped(q, rng) for q in bot.questions]).argmax(axis=1)
    assert np.mean(found == np.arange(len(KNOWN))) >= 0.9


def test_similarity_is_that_of_a_question_with_itself_at_most(chatbot):
    bot = chatbot.Chatbot(KNOWN)
    similarities = bot.similarities(bot.questions)
    np.testing.assert_allclose(np.diag(similarities), 1, rtol=1e-5)
    assert similarities.max() <= 1 + 1e-5
    assert similarities.min() >= 0


def test_what_is_like_no_question_gets_a_hint(chatbot):
    reply = chatbot.Chatbot(KNOWN).reply("xylophone quartet?")
    assert reply.startswith("I do not know. Is it about ")
    assert reply.split("Then try: ")[1].rstrip("?") in KNOWN


def test_piped_lines_are_answered_and_the_end_is_polite(chatbot, monkeypatch, capsys):
    monkeypatch.setattr(chatbot, "load", lambda: KNOWN)
    monkeypatch.setattr(sys, "stdin", io.StringIO("is bread sweet\n\nare they tame"))
    monkeypatch.setattr(sys, "argv", ["chatbot.py"])
    chatbot.main()
    lines = capsys.readouterr().out.splitlines()
    talk = lines[lines.index("you: is bread sweet") :]
    assert talk[1] == "bot: bread: 2"
    assert talk[-1] == "bot: Goodbye!"
    assert sum(line.startswith("bot: ") for line in talk) == 3


def test_a_missing_package_is_one_sentence(chatbot, monkeypatch):
    monkeypatch.setattr(chatbot, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"python -m pip install 'gpunet\[examples\]'"):
        chatbot.load()


@pytest.mark.slow
def test_the_published_conversations_are_learned(chatbot, capsys):
    pytest.importorskip("chatterbot_corpus", reason="pip install -e '.[examples]'")
    pytest.importorskip("yaml", reason="pip install -e '.[examples]'")
    chatbot.measure(chatbot.Chatbot(chatbot.load()))
    _, intents, _, letters = capsys.readouterr().out.splitlines()
    assert float(intents.split("%")[0].split()[-1]) >= 83
    assert float(letters.split("%")[0].split()[-1]) >= 97
