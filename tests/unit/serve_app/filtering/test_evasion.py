"""Ways around a filter that are known, and ordinary text that only looks like one."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from serve_app.filtering.escapes import split
from serve_app.filtering.frames import AnswerFilter
from serve_app.filtering.prompt import PromptFilter
from serve_app.filtering.stream import TextStream
from serve_app.filtering.verdict import Action
from tests.unit.serve_app.filtering.policies import HIDDEN, policy_of
from tests.unit.serve_app.filtering.sse import choices, frame
from tests.unit.serve_app.filtering.sse import text as text_of

POLICY = policy_of(dict.fromkeys(("bad word", "weapon", "制造炸弹", "台湾发展", "ass"), Action.MASK))

EVASIONS = {
    "as it is": "weapon",
    "mixed case": "wEaPoN",
    "full width": "ｗｅａｐｏｎ",
    "zero width": "wea\u200bp\u200don\ufeff",
    "soft hyphen": "wea\u00adpon",
    "variation selector": "wea\ufe0fpon",
    "accents": "wéápôn",
    "combining marks": "w\u0336e\u0336a\u0336p\u0336o\u0336n\u0336",
    "Cyrillic letters": "wеароn",
    "Greek letters": "weαpοn",
    "mathematical letters": "𝐰𝐞𝐚𝐩𝐨𝐧",
    "circled letters": "ⓦⓔⓐⓟⓞⓝ",
    "squared letters": "🅆🄴🄰🄿🄾🄽",
    "escapes by number": r"\u0077\u0065\u0061pon",
    "Cyrillic capitals": "WЕАРОN",
    "spaces of no width between": "w\u2060e\u2063a\u180epon",
    "right-to-left marks": "wea\u202epon",
    "tags": "wea\U000e0061pon",
    "full width dots": "ｗ．ｅ．ａ．ｐ．ｏ．ｎ",
    "dots": "w.e.a.p.o.n",
    "dashes": "wea-pon",
    "asterisks": "w**e**apon",
    "spelled out": "w e a p o n",
    "spelled out with commas": "w, e, a, p, o, n",
    "spelled out in lines": "w\ne\na\np\no\nn",
    "two words": "BAD  word",
    "two words in two lines": "bad\nword",
    "two words joined by dashes": "bad-word",
    "Chinese": "制造炸弹",
    "Chinese within a sentence": "如何制造炸弹的",
    "Chinese with spaces": "制 造 炸  弹",
    "Chinese with dots": "制·造·炸·弹",
    "Chinese with commas": "制，造，炸，弹",
    "traditional": "製造炸彈",
    "traditional of several letters": "臺灣發展",
    "compatibility ideographs": "制造炸弹".replace("炸", "炸\u200c"),
}

ORDINARY = (
    "the class will assess a passage",
    "we a po n",
    "bad news, word by word",
    "badword",
    "制作和建造，炸薯条",
    "we. Apon",
    "a, s",
)


@pytest.mark.parametrize("text", EVASIONS.values(), ids=EVASIONS)
def test_an_evasion_is_found_whole_and_character_by_character(text: str) -> None:
    for pieces in ([text], list(text)):
        stream = TextStream(POLICY)
        shown = "".join([*map(stream.feed, pieces), stream.finish()])
        assert HIDDEN in shown
        assert sum(stream.found.values()) == 1
        assert not set(shown.replace(HIDDEN, "")) - set("如何的\ufeff\u0336")


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_passes(text: str) -> None:
    stream = TextStream(POLICY)
    assert stream.feed(text) + stream.finish() == text
    assert not stream.found


def test_more_separators_than_allowed_part_a_phrase() -> None:
    policy = policy_of({"制造": Action.BLOCK}, max_separators=2)
    for text, found in (("制..造", True), ("制...造", False)):
        stream = TextStream(policy)
        stream.feed(text)
        stream.finish()
        assert stream.blocked is found


@pytest.mark.parametrize(
    "spelled",
    [r'{"q":"\u5236\u9020\u70b8\u5f39"}', r'{"q":"制\u9020炸\u5f39"}', r'{"q":"\u0077eapo\u006E"}'],
)
def test_json_escapes_in_arguments_are_read_however_they_are_cut(spelled: str) -> None:
    for step in range(1, len(spelled) + 1):
        stream = TextStream(POLICY, is_json=True)
        pieces = [spelled[place : place + step] for place in range(0, len(spelled), step)]
        shown = "".join([*map(stream.feed, pieces), stream.finish()])
        assert json.loads(shown) == {"q": HIDDEN}


def test_escapes_that_hide_nothing_arrive_as_they_came() -> None:
    text = r'{"a":"\\u4e2d \" \ud83d\ude00 \ud83d x \n"}' + "\\"
    for step in range(1, len(text) + 1):
        stream = TextStream(POLICY, is_json=True)
        pieces = [text[place : place + step] for place in range(0, len(text), step)]
        assert "".join([*map(stream.feed, pieces), stream.finish()]) == text


def test_an_escaped_backslash_begins_no_escape() -> None:
    assert split(r"a\\") == (r"a\\", "")
    assert split(r"a\\\u4e") == (r"a\\", r"\u4e")


def _checked(body: dict[str, Any]) -> dict[str, Any]:
    return PromptFilter(POLICY, refuse_unreadable=False).check(body).body


def test_a_phrase_split_over_content_parts_is_found() -> None:
    parts = [{"type": "text", "text": "how wea"}, {"type": "text", "text": "pon is"}]
    masked = _checked({"messages": [{"role": "user", "content": parts}]})["messages"][0]["content"]
    assert [part["text"] for part in masked] == [f"how {HIDDEN}", " is"]


def test_a_phrase_split_over_the_pieces_of_a_calls_arguments_is_found() -> None:
    answer = AnswerFilter(POLICY, 1)
    pieces = ['{"q": "we', "a", "", 'pon"}']
    sent = b"".join(
        answer.feed(frame(tool_calls=[{"index": 0, "function": {"arguments": piece}}])) for piece in pieces
    )
    said = [choice["delta"]["tool_calls"][0]["function"]["arguments"] for choice in choices(sent)]
    assert json.loads("".join(said)) == {"q": HIDDEN}


def test_choices_and_calls_are_texts_of_their_own() -> None:
    """Known: nobody reads them as one text."""
    answer = AnswerFilter(POLICY, 2)
    sent = [
        frame(0, content="a wea"),
        frame(1, content="pon"),
        frame(0, reason="stop"),
        frame(1, reason="stop"),
    ]
    shown = b"".join(map(answer.feed, sent))
    assert (text_of(shown, 0), text_of(shown, 1)) == ("a wea", "pon")


def test_codes_are_not_read() -> None:
    """Known: a code can be made of anything; base64 is out of scope."""
    coded = base64.b64encode(b"weapon").decode()
    stream = TextStream(POLICY)
    assert stream.feed(coded) + stream.finish() == coded
