"""``qwen-serve audit verify``, as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from serve_app.audit import Audit, AuditConfig
from serve_app.audit.segment import files_of
from serve_app.cli.audit import audit
from tests.unit.serve_app.audit.conftest import RECORD

RUNNER = CliRunner()


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default places, with five records."""
    monkeypatch.chdir(tmp_path)
    config = AuditConfig()
    log = Audit.open(config, "host")
    for _ in range(5):
        log.write(RECORD)
    log.close()
    return config.directory


def run(*arguments: str | Path) -> tuple[int, str]:
    result = RUNNER.invoke(audit, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_good_directory_is_ok_and_its_last_line_can_be_kept(directory: Path) -> None:
    code, output = run("verify", directory)
    assert code == 0
    assert "host.0: ok, 5 records in 1 files" in output
    last = output.split("last line ")[1].strip()
    assert run("verify", directory, "--known", last)[0] == 0
    code, output = run("verify", directory, "--known", last[:-1] + ("0" if last[-1] != "0" else "1"))
    assert code == 1
    assert "is in no chain" in output


def test_tampered_directory_names_file_and_line_and_exits_with_1(directory: Path) -> None:
    (path,) = files_of(directory / "host.0")
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b"zhangsan", b"lisi")
    path.write_bytes(b"".join(lines))
    code, output = run("verify", directory)
    assert code == 1
    assert f"{path}:4: this line was edited" in output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--key", "none.pem"], "--key: Cannot read"),
        (["--known", "seven"], "--known: 'seven' is not SEQ:HASH"),
    ],
)
def test_unusable_option_is_named_and_exits_with_2(
    directory: Path, arguments: list[str], reason: str
) -> None:
    code, output = run("verify", directory, *arguments)
    assert code == 2
    assert reason in output


def test_directory_without_a_chain_exits_with_2(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert run("verify", tmp_path / "empty")[0] == 2
    code, output = run("verify", tmp_path / "none")
    assert code == 2
    assert "Cannot read" in output
