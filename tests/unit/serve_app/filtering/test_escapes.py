"""Escapes of JSON within a text, however they are cut."""

from __future__ import annotations

import json
import random

import pytest

from serve_app.filtering import escapes
from serve_app.filtering.stream import TextStream
from serve_app.filtering.verdict import Action
from tests.unit.serve_app.filtering.policies import HIDDEN, policy_of

POLICY = policy_of({"weapon": Action.MASK, "\u70b8\u5f39": Action.MASK})


def _read(text: str, *, is_json: bool) -> str:
    return "".join(char for char, _ in escapes.units(text, is_json=is_json))


def test_json_has_all_escapes_and_other_texts_those_by_number() -> None:
    text = r"\u70b8\n\t\"\\\ud83d\ude00"
    assert _read(text, is_json=True) == '\u70b8\n\t"\\\U0001f600'
    assert _read(text, is_json=False) == '\u70b8\\n\\t\\"\\\\\U0001f600'


def test_what_json_reads_is_what_is_read() -> None:
    chance = random.Random(3)  # noqa: S311
    for _ in range(500):
        text = "".join(chance.choices('ab"\\/\b\n\u4e2d\U0001f600\x01', k=12))
        assert _read(json.dumps(text)[1:-1], is_json=True) == text


@pytest.mark.parametrize("is_json", [True, False])
def test_lengths_add_up_and_pieces_read_alike(is_json: bool) -> None:
    chance = random.Random(4)  # noqa: S311
    for _ in range(500):
        text = "".join(chance.choices(["\\", "u", "d83d", "de00", "4e2d", "n", "x"], k=8))
        assert sum(length for _, length in escapes.units(text, is_json=is_json)) == len(text)
        read, rest = "", ""
        for char in text:
            ready, rest = escapes.split(rest + char, is_json=is_json)
            read += _read(ready, is_json=is_json)
        assert read + rest == _read(text.removesuffix(rest), is_json=is_json) + rest


@pytest.mark.parametrize("text", [r"\u0077eapon", r"say \u70b8\u5f39", r"\uD83D\uDE00 \u70b8\u5F39"])
def test_a_phrase_spelled_by_number_is_found_in_any_text(text: str) -> None:
    for step in range(1, len(text) + 1):
        stream = TextStream(POLICY)
        pieces = [text[place : place + step] for place in range(0, len(text), step)]
        shown = "".join([*map(stream.feed, pieces), stream.finish()])
        assert shown.endswith(HIDDEN)
        assert sum(stream.found.values()) == 1


def test_backslashes_of_formulas_and_paths_arrive_as_they_came() -> None:
    text = r"\frac{1}{2} \u \ubuntu C:\users\new \\ \u12" + "\\"
    for step in range(1, len(text) + 1):
        stream = TextStream(POLICY)
        pieces = [text[place : place + step] for place in range(0, len(text), step)]
        assert "".join([*map(stream.feed, pieces), stream.finish()]) == text
