"""The commands: a wrong option is told in one line on standard error, with exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from quantize.cli import app, share
from quantize.errors import QuantizeError
from tests.unit.quantize.tiny import write_checkpoint


def _run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize(("text", "value"), [("2%", 0.02), ("0.02", 0.02), ("0", 0), ("100%", 1), ("1", 1)])
def test_share_is_a_percentage_or_a_number(text: str, value: float) -> None:
    assert share(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "%", "two", "-1%", "2", "101%", "nan", "inf"])
def test_other_shares_are_refused(text: str) -> None:
    with pytest.raises(QuantizeError, match=r"is no share; give 2% or 0\.02"):
        share(text)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("{model}", "{folder}/none"), "no such folder"),
        (("{folder}", "{model}"), "config.json"),
        (("{model}", "{model}", "--eval", "{folder}/none.jsonl"), "cannot be read"),
        (("{model}", "{model}", "--eval", "{folder}/bad.jsonl"), "line 1"),
        (("{model}", "{model}", "--max-loss", "2"), "--max-loss 2 is no share"),
        (("{model}", "{other}"), "another vocabulary"),
        (("{model}", "{model}"), "no tokenizer"),
    ],
)
def test_bad_input_of_compare_is_one_line(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    write_checkpoint(tmp_path / "model")
    write_checkpoint(tmp_path / "other", vocab_size=128)
    (tmp_path / "bad.jsonl").write_text("{}\n", encoding="utf-8")
    places = {"folder": tmp_path, "model": tmp_path / "model", "other": tmp_path / "other"}
    done = _run("compare", *(argument.format(**places) for argument in arguments))
    assert done.exit_code == 2
    assert done.stdout == ""
    error = done.stderr.splitlines()[-1]
    assert error.startswith("error: ")
    assert said in error
