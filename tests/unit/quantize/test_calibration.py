from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from quantize.calibration import Calibration, calibrate, read_records
from quantize.errors import QuantizeError
from quantize.fingerprint import fingerprint
from quantize.settings import Settings
from tests.unit.quantize.tokenizers import write_tokenizer

LONG = "The quick brown fox jumps over the lazy dog and then sleeps in the warm sun for a while, number {}."


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("model"))


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def _calibrate(tmp_path: Path, model: Path, rows: list[dict[str, Any]], **changes: int) -> Calibration:
    return calibrate(_write(tmp_path / "set.jsonl", rows), model, Settings.model_validate(changes))


def test_chat_goes_through_the_models_own_template(tmp_path: Path, model: Path) -> None:
    from transformers import AutoTokenizer

    messages = [{"role": "user", "content": LONG.format(1)}, {"role": "assistant", "content": "So it does."}]
    calibration = _calibrate(tmp_path, model, [{"messages": messages}])
    text = AutoTokenizer.from_pretrained(model).decode(calibration.samples[0]["input_ids"][0])
    assert "<|im_start|>user" in text
    assert "So it does.<|im_end|>" in text


def test_repetitions_are_left_out_whatever_their_case_and_spaces(tmp_path: Path, model: Path) -> None:
    rows = [{"text": LONG.format(1)}, {"text": LONG.format(1).upper()}, {"text": LONG.format("  1 ")}]
    calibration = _calibrate(tmp_path, model, [*rows, {"text": LONG.format(2)}])
    assert (len(calibration.samples), calibration.repeated) == (2, 2)


def test_short_samples_are_left_out_and_counted(tmp_path: Path, model: Path) -> None:
    calibration = _calibrate(tmp_path, model, [{"text": LONG.format(1)}, {"text": "Too short."}])
    assert (len(calibration.samples), calibration.short) == (1, 1)


def test_long_texts_are_cut(tmp_path: Path, model: Path) -> None:
    calibration = _calibrate(tmp_path, model, [{"text": LONG * 50}], sequence_length=64)
    assert calibration.tokens == 64


def test_choice_is_the_seeds_and_the_hash_is_the_choices(tmp_path: Path, model: Path) -> None:
    rows = [{"text": LONG.format(number)} for number in range(40)]
    first, again = (_calibrate(tmp_path, model, rows, samples=8, seed=1) for _ in range(2))
    other = _calibrate(tmp_path, model, rows, samples=8, seed=2)
    assert first.sha256 == again.sha256
    assert first.sha256 != other.sha256
    assert len(first.samples) == 8


def test_order_of_a_file_does_not_repeat_itself_in_the_choice(tmp_path: Path, model: Path) -> None:
    rows = [{"text": LONG.format(number)} for number in range(40)]
    chosen = _calibrate(tmp_path, model, rows, samples=8).texts
    assert list(chosen) != [row["text"] for row in rows[:8]]


def test_plain_text_has_an_empty_line_between_samples(tmp_path: Path) -> None:
    path = tmp_path / "set.txt"
    path.write_text(f"{LONG.format(1)}\nand on\n\n\n{LONG.format(2)}\n")
    assert [record.text for record in read_records(path)] == [f"{LONG.format(1)}\nand on", LONG.format(2)]


@pytest.mark.parametrize("content", ["", "\n\n"])
@pytest.mark.parametrize("name", ["set.jsonl", "set.txt"])
def test_empty_file_is_told(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(QuantizeError, match="is empty; give samples"):
        read_records(path)


def test_nothing_long_enough_is_told(tmp_path: Path, model: Path) -> None:
    with pytest.raises(QuantizeError, match="no sample of 11 tokens or more"):
        _calibrate(tmp_path, model, [{"text": "a"}, {"text": "b"}])


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "3",
        '"text"',
        '{"texts": "a"}',
        '{"text": 3}',
        '{"messages": 3}',
        '{"messages": ["a"]}',
        '{"messages": [{"role": "user"}]}',
    ],
)
def test_line_of_another_form_is_told_with_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text(json.dumps({"text": "fine"}) + "\n" + line + "\n")
    with pytest.raises(QuantizeError, match="line 2: neither"):
        read_records(path)


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(QuantizeError, match="cannot be read"):
        read_records(tmp_path / "nothing.jsonl")


def test_images_for_a_model_that_sees_none_are_told(tmp_path: Path, model: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    url = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    part = {"type": "image_url", "image_url": {"url": url}}
    rows = [{"messages": [{"role": "user", "content": [part, {"type": "text", "text": LONG}]}]}]
    with pytest.raises(QuantizeError, match="the model sees none"):
        _calibrate(tmp_path, model, rows)


@pytest.mark.parametrize("url", ["data:image/png;base64,AAAA", "data:image/png;base64,?", "nothing.png"])
def test_image_that_cannot_be_read_is_told(tmp_path: Path, model: Path, url: str) -> None:
    rows = [{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}]
    with pytest.raises(QuantizeError, match="cannot be read; give a data: URL or a file"):
        _calibrate(tmp_path, model, rows)


def test_model_without_template_takes_plain_texts_only(tmp_path: Path, model: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(model, bare)
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(QuantizeError, match="no chat template"):
        _calibrate(tmp_path, bare, [{"messages": [{"role": "user", "content": LONG}]}])
    assert _calibrate(tmp_path, bare, [{"text": LONG}]).samples


def test_model_without_tokenizer_is_told(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(QuantizeError, match="no tokenizer that can be read"):
        _calibrate(tmp_path, tmp_path / "model", [{"text": LONG}])


def test_samples_are_token_ids(tmp_path: Path, model: Path) -> None:
    sample = _calibrate(tmp_path, model, [{"text": LONG}]).samples[0]
    assert sample["input_ids"].dtype == torch.int64
    assert sample["input_ids"].dim() == 2


def test_fingerprint_of_symbols_tells_them_apart() -> None:
    assert fingerprint("+++") != fingerprint("---")
    assert fingerprint("Ｑｗｅｎ, yes!") == fingerprint("qwen yes")
