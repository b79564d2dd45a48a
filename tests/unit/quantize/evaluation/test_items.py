"""The evaluation file is read line by line, and a bad line is named."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from quantize.calibration import read_records
from quantize.errors import QuantizeError
from quantize.evaluation import DEFAULT, read_set
from quantize.evaluation.items import Chat, Question, Text
from quantize.fingerprint import fingerprint

_USER = {"role": "user", "content": "How much is two and two?"}
_ASSISTANT = {"role": "assistant", "content": "Four."}
_IMAGE = {"type": "image_url", "image_url": {"url": "red.png"}}


def _file(folder: Path, *rows: Any) -> Path:
    path = folder / "evaluation.jsonl"
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_three_forms_are_told_apart_and_keep_their_lines(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        {"text": "A text."},
        "",
        {"messages": [_USER, _ASSISTANT]},
        {"messages": [_USER], "answer": "4"},
    )
    records = read_set(path).records
    assert {line: type(record) for line, record in records.items()} == {1: Text, 3: Chat, 4: Question}


def test_hash_is_of_the_whole_content(tmp_path: Path) -> None:
    path = _file(tmp_path, {"text": "A text."})
    assert read_set(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_separators_within_a_text_do_not_end_its_line(tmp_path: Path) -> None:
    path = _file(tmp_path, {"text": "One\u2028two\x85three"})
    (record,) = read_set(path).records.values()
    assert record == Text(text="One\u2028two\x85three")


def test_images_are_a_part_of_a_question(tmp_path: Path) -> None:
    message = {"role": "user", "content": [_IMAGE, {"type": "text", "text": "Which colour?"}]}
    path = _file(tmp_path, {"text": "A text."}, {"messages": [message], "answer": "red"})
    assert read_set(path).records[2].words == "red.png Which colour?\nred"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", "no JSON"),
        ("[]", "not an object"),
        ({"text": ""}, "text: String should have at least 1 character"),
        ({"text": "x", "anwser": "y"}, "anwser: Extra inputs"),
        ({}, "messages: Field required"),
        ({"messages": [_USER]}, "messages: Tuple should have at least 2"),
        ({"messages": [_ASSISTANT, _USER]}, "last message must be the assistant's"),
        ({"messages": [_USER, _ASSISTANT], "answer": "4"}, "must be the user's"),
        ({"messages": [{"role": "robot", "content": "x"}], "answer": "4"}, "messages.0.role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "audio"}]}], "answer": "4"},
            "messages.0.content",
        ),
    ],
)
def test_bad_line_is_named(tmp_path: Path, row: Any, said: str) -> None:
    path = _file(tmp_path, {"text": "A text."}, row)
    with pytest.raises(QuantizeError) as raised:
        read_set(path)
    message = str(raised.value)
    assert f"{path}, line 2: " in message
    assert said in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b'{"messages": [{"role": "user", "content": "x"}], "answer": "y"}']
)
def test_file_without_held_out_text_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "evaluation.jsonl"
    path.write_bytes(content)
    with pytest.raises(QuantizeError, match="evaluation file"):
        read_set(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QuantizeError, match="cannot be read"):
        read_set(tmp_path / "none.jsonl")


@pytest.mark.parametrize(
    "row",
    [
        {"text": "How much is TWO and two? four"},
        {"messages": [_USER, _ASSISTANT]},
        {"messages": [_USER], "answer": "four"},
    ],
)
def test_what_was_calibrated_with_is_refused_whatever_its_form(tmp_path: Path, row: Any) -> None:
    calibration = tmp_path / "calibration.jsonl"
    calibration.write_text(json.dumps({"messages": [_USER, _ASSISTANT]}), encoding="utf-8")
    texts = [record.text for record in read_records(calibration)]
    items = read_set(_file(tmp_path, {"text": "Another text."}, row))
    assert items.overlap(texts) == [2]
    with pytest.raises(QuantizeError, match="line 2: also in the calibration data"):
        items.check_apart(texts)
    items.check_apart(["Yet another text."])


def test_images_tell_records_apart_as_the_calibration_does(tmp_path: Path) -> None:
    calibration = tmp_path / "calibration.jsonl"
    asked = {"role": "user", "content": [_IMAGE, {"type": "text", "text": "Which colour?"}]}
    other = {"role": "user", "content": [{**_IMAGE, "image_url": {"url": "blue.png"}}, *asked["content"][1:]]}
    calibration.write_text(json.dumps({"messages": [asked, _ASSISTANT]}), encoding="utf-8")
    texts = [record.text for record in read_records(calibration)]
    items = read_set(_file(tmp_path, {"messages": [other, _ASSISTANT]}, {"messages": [asked, _ASSISTANT]}))
    assert items.overlap(texts) == [2]


class TestDefaultSet:
    """The set that comes with the repository."""

    def test_has_enough_of_each_form(self) -> None:
        kinds = [type(record) for record in read_set(DEFAULT).records.values()]
        assert (kinds.count(Text), kinds.count(Chat), kinds.count(Question)) == (44, 28, 40)

    def test_both_languages_have_a_good_part_of_the_words(self) -> None:
        text = "".join(record.words for record in read_set(DEFAULT).records.values())
        chinese = sum("\u4e00" <= character <= "\u9fff" for character in text)
        # A Chinese character says about as much as three Latin ones, spaces and signs included.
        assert 0.35 < chinese / (chinese + (len(text) - chinese) / 3) < 0.65

    def test_nothing_is_repeated(self) -> None:
        records = read_set(DEFAULT).records.values()
        assert len({fingerprint(record.words) for record in records}) == len(records)

    def test_questions_ask_for_the_bare_answer(self) -> None:
        questions = [one for one in read_set(DEFAULT).records.values() if isinstance(one, Question)]
        assert all("Answer with" in one.words or "只回答" in one.words for one in questions)
        assert max(len(one.answer) for one in questions) <= 10
