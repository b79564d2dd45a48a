"""One text: what it keeps, and where it begins anew."""

from __future__ import annotations

from serve_app.filtering.stream import TextStream
from serve_app.filtering.verdict import Action
from tests.unit.serve_app.filtering.policies import HIDDEN, policy_of

POLICY = policy_of({"weapon": Action.MASK, "\u7532\u4e59": Action.MASK})


def test_a_text_that_never_stops_beginning_a_phrase_is_not_kept() -> None:
    stream = TextStream(POLICY)
    for _ in range(1000):
        stream.feed("\u7532")
    assert len(stream._marks) == 1
    assert len(stream._held) == 1


def test_it_is_known_which_characters_were_hidden() -> None:
    stream = TextStream(POLICY)
    text = "a weapon, a \u7532\u4e59. "
    stream.feed(text)
    hidden = [place for place in range(len(text)) if stream.hides(place, place + 1)]
    assert "".join(text[place] for place in hidden) == "weapon\u7532\u4e59"
    assert not stream.hides(0, 2)
    assert stream.hides(0, len(text))


def test_after_its_end_a_text_begins_anew() -> None:
    stream = TextStream(POLICY)
    assert stream.feed("wea") + stream.finish() == "wea"
    assert stream.feed("pon") + stream.finish() == "pon"
    assert stream.feed("weapon") + stream.finish() == HIDDEN


def test_after_a_block_nothing_is_read() -> None:
    stream = TextStream(policy_of({"weapon": Action.BLOCK}))
    assert stream.feed("a weapon, a weapon") == "a "
    assert (stream.feed("b"), stream.finish()) == ("", "")
    assert stream.found == {("block", Action.BLOCK): 1}
