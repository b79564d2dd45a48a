"""Where a phrase begins and ends, and what may stand within it."""

from __future__ import annotations

import pytest

from serve_app.filtering.phrases import folded_phrase
from serve_app.filtering.stream import TextStream
from serve_app.filtering.verdict import Action
from tests.unit.serve_app.filtering.policies import HIDDEN, policy_of


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Bad  Word", "bad word"),
        ("bad-word", "bad word"),
        (" .weapon. ", "weapon"),
        ("\u88fd \u9020", "\u5236\u9020"),
        ("AK \u4e00", "ak\u4e00"),
        ("...", ""),
    ],
)
def test_phrases_are_folded(text: str, folded: str) -> None:
    assert folded_phrase(text) == folded


@pytest.mark.parametrize(
    ("phrase", "text", "shown"),
    [
        ("ass", "an ass, a class, an asset", f"an {HIDDEN}, a class, an asset"),
        ("\u70b8\u5f39", "\u7684\u70b8\u5f39\u7684", f"\u7684{HIDDEN}\u7684"),
        ("ak\u67aa", "ak \u67aa, mak\u67aa", f"{HIDDEN}, mak\u67aa"),
        ("bad word", "bad.word badword bad, word", f"{HIDDEN} badword bad, word"),
        ("a b c", "a, b, c", HIDDEN),
        ("\u70b8\u5f39", "\u70b8, \u5f39", "\u70b8, \u5f39"),
    ],
)
def test_words_end_where_their_script_says(phrase: str, text: str, shown: str) -> None:
    for pieces in ([text], list(text)):
        stream = TextStream(policy_of({phrase: Action.MASK}))
        assert "".join([*map(stream.feed, pieces), stream.finish()]) == shown


def test_overlapping_matches_have_one_placeholder_and_adjoining_ones_two() -> None:
    policy = policy_of({"\u7532\u4e59": Action.MASK, "\u4e59\u4e19": Action.MASK})
    for text, shown in (("\u7532\u4e59\u4e19", HIDDEN), ("\u7532\u4e59\u7532\u4e59", HIDDEN * 2)):
        stream = TextStream(policy)
        assert stream.feed(text) + stream.finish() == shown


def test_what_is_only_flagged_is_not_held() -> None:
    stream = TextStream(policy_of({"\u7532\u4e59\u4e19": Action.FLAG}))
    assert [stream.feed(char) for char in "\u7532\u4e59\u4e19"] == list("\u7532\u4e59\u4e19")
    assert stream.found == {("flag", Action.FLAG): 1}
