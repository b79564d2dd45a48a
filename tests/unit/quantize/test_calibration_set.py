"""The calibration set that comes with the repository: well formed, varied, and in both languages."""

from __future__ import annotations

import pytest

from quantize.calibration import DEFAULT, Record, read_records
from quantize.fingerprint import fingerprint


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return read_records(DEFAULT)


def _chinese_characters(text: str) -> int:
    return sum("\u4e00" <= character <= "\u9fff" for character in text)


def _is_chinese(text: str) -> bool:
    # Code and figures in a Chinese answer are Latin letters, so a fifth is enough.
    return _chinese_characters(text) > len(text) / 5


def test_set_is_large_enough(records: list[Record]) -> None:
    assert len(records) >= 150
    assert sum(len(record.text) for record in records) >= 25_000


def test_each_language_has_nearly_half_of_the_records(records: list[Record]) -> None:
    chinese = sum(_is_chinese(record.text) for record in records)
    assert 0.4 <= chinese / len(records) <= 0.6


def test_each_language_has_nearly_half_of_the_words(records: list[Record]) -> None:
    text = "".join(record.text for record in records)
    chinese = _chinese_characters(text)
    # A Chinese character says about as much as three Latin ones, spaces and signs included.
    latin = (len(text) - chinese) / 3
    assert 0.35 <= chinese / (chinese + latin) <= 0.65


def test_chats_and_plain_texts_are_both_there(records: list[Record]) -> None:
    chats = sum(record.messages is not None for record in records)
    assert chats >= 100
    assert len(records) - chats >= 40


def test_no_record_is_repeated(records: list[Record]) -> None:
    assert len({fingerprint(record.text) for record in records}) == len(records)


def test_chats_alternate_and_end_with_the_assistant(records: list[Record]) -> None:
    for record in records:
        if record.messages is None:
            continue
        roles = [message["role"] for message in record.messages]
        turns = roles[1:] if roles[0] == "system" else roles
        assert turns, record.text
        assert turns == ["user", "assistant"] * (len(turns) // 2), record.text


def test_no_message_is_empty(records: list[Record]) -> None:
    for record in records:
        contents = [message["content"] for message in record.messages or ()] or [record.text]
        assert all(content.strip() for content in contents), record.text


def test_file_is_one_record_a_line_in_readable_utf_8(records: list[Record]) -> None:
    content = DEFAULT.read_text(encoding="utf-8")
    assert content.endswith("\n")
    assert len(content.splitlines()) == content.count("\n") == len(records)
    assert "\\u" not in content
    assert "\ufffd" not in content
