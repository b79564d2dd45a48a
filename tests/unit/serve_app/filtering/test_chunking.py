"""Any text, any lexicon, any cutting into pieces."""

from __future__ import annotations

import random

import pytest

from serve_app.filtering.stream import TextStream
from serve_app.filtering.verdict import Action
from tests.unit.serve_app.filtering import long_run
from tests.unit.serve_app.filtering.policies import policy_of


@pytest.mark.parametrize("seed", range(4))
def test_what_is_shown_and_found_does_not_depend_on_the_pieces(seed: int) -> None:
    assert long_run.run(seed + 1, 5_000) >= 5_000


def test_what_is_held_is_the_longest_suffix_that_may_become_a_match() -> None:
    chance = random.Random(5)  # noqa: S311
    for _ in range(300):
        phrases = {"".join(chance.choices("甲乙丙", k=chance.randint(2, 5))) for _ in range(4)}
        stream = TextStream(policy_of(dict.fromkeys(phrases, Action.BLOCK)))
        text = shown = ""
        for char in chance.choices("甲乙丙丁", k=20):
            text += char
            shown += stream.feed(char)
            if stream.blocked:
                break
            beginnings = [n for n in range(len(text)) if any(one.startswith(text[n:]) for one in phrases)]
            assert shown == text[: min(beginnings, default=len(text))]
        assert stream.blocked == any(one in text for one in phrases)
