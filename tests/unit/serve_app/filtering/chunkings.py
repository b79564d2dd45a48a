"""Random texts, lexicons and pieces of texts, each from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

from serve_app.filtering.phrases import folded_phrase
from serve_app.filtering.policy import Policy
from serve_app.filtering.stream import TextStream
from serve_app.filtering.verdict import Action
from tests.unit.serve_app.filtering.oracle import ALPHABET, expect
from tests.unit.serve_app.filtering.policies import policy_of

_PHRASE_LETTERS = "甲甲乙丙丁aab "


@dataclass(frozen=True)
class Case:
    """A lexicon."""

    phrases: dict[str, Action]
    max_separators: int
    policy: Policy


def case_of(chance: random.Random) -> Case:
    """A random lexicon of a few phrases that overlap often."""
    phrases: dict[str, Action] = {}
    actions = chance.choices([[Action.BLOCK], [Action.MASK], list(Action)], [2, 2, 3])[0]
    for _ in range(chance.randint(1, 6)):
        phrase = folded_phrase("".join(chance.choices(_PHRASE_LETTERS, k=chance.randint(1, 5))))
        if phrase and phrase not in ("a", "b"):
            phrases[phrase] = chance.choice(actions)
    most = chance.randint(1, 4)
    return Case(phrases, most, policy_of(phrases, max_separators=most))


def text_of(chance: random.Random, case: Case) -> str:
    """A random text, often with a phrase or the beginning of one in it."""
    parts: list[str] = []
    for _ in range(chance.randint(1, 6)):
        parts.append("".join(chance.choices(ALPHABET, k=chance.randint(0, 4))))
        if case.phrases and chance.random() < 0.6:
            phrase = chance.choice(list(case.phrases))
            parting = chance.choice(["", "", ".", " ", ", "])
            parts.append(parting.join(phrase[: chance.randint(1, len(phrase))]))
    return "".join(parts)


def chunked(chance: random.Random, text: str) -> list[str]:
    """A text in random pieces, some empty, sometimes all of one character."""
    if chance.random() < 0.2:
        return list(text) or [""]
    cuts = sorted(chance.choices(range(len(text) + 1), k=chance.randint(0, len(text) + 1)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def check_text(chance: random.Random, case: Case, text: str) -> None:
    """One chunking of one text.

    Raises:
        AssertionError: The filter showed or found something else than it must.
    """
    must = expect(text, case.phrases, case.max_separators)
    stream = TextStream(case.policy)
    shown = "".join([*(stream.feed(piece) for piece in chunked(chance, text)), stream.finish()])
    told = (text, case.phrases, case.max_separators, shown, must)
    assert stream.blocked == must.blocked, told
    if must.blocked:
        assert must.shown.startswith(shown), told
        whole = TextStream(case.policy)
        assert shown == whole.feed(text) + whole.finish(), told
        assert stream.found == whole.found, told
    else:
        assert shown == must.shown, told
        assert stream.found == must.found, told
