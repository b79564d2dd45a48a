"""``qwen-serve audit verify`` and ``show``, as a user meets it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from typer.testing import CliRunner

from serve_app.audit import Audit, AuditConfig
from serve_app.audit.config import ContentConfig
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


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    """File of a private key, beside that of its public part, ``reader.pub``."""
    key = X25519PrivateKey.generate()
    (tmp_path / "reader.pub").write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    path = tmp_path / "reader.key"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def test_record_is_shown_with_its_prompt_to_who_has_the_key(directory: Path, reader: Path) -> None:
    content = ContentConfig(public_key_file=reader.with_name("reader.pub"))
    log = Audit.open(AuditConfig(content=content), "host")
    log.write(replace(RECORD, request_id="order-66", prompt="你好".encode(), answer=b"Hi"))
    log.close()
    code, output = run("show", directory, "order-66")
    assert code == 0
    assert "prompt_sealed" in output
    assert "你好" not in output
    code, output = run("show", directory, "order-66", "--content-key", reader)
    assert code == 0
    said = json.loads(output)
    assert (said["prompt"], said["answer"], said["user_id"]) == ("你好", "Hi", "zhangsan")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["order-67"], "has the request id order-67"),
        (["req-1", "--content-key", "none.pem"], "--content-key: Cannot read"),
    ],
)
def test_record_that_cannot_be_shown_exits_with_2(directory: Path, arguments: list[str], reason: str) -> None:
    code, output = run("show", directory, *arguments)
    assert code == 2
    assert reason in output
