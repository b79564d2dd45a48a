"""The signing secret's file."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serve_app.auth import secret


def test_secret_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "jwt.key"
    first = secret.ensure(path)

    assert len(first) >= secret.MIN_BYTES
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret.ensure(path) == first
    assert [file.name for file in path.parent.iterdir()] == ["jwt.key"]


def test_secrets_of_two_places_differ(tmp_path: Path) -> None:
    assert secret.ensure(tmp_path / "a") != secret.ensure(tmp_path / "b")


def test_threads_that_race_agree_on_one_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: secret.ensure(tmp_path / "jwt.key"), range(32)))) == 1


def test_missing_secret_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(secret.SecretError, match="qwen-serve secret"):
        secret.read(tmp_path / "none")


def test_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "jwt.key"
    secret.ensure(path)
    path.chmod(0o644)
    with pytest.raises(secret.SecretError, match="chmod 600"):
        secret.read(path)


def test_short_secret_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "jwt.key"
    path.write_bytes(b"password")
    path.chmod(0o600)
    with pytest.raises(secret.SecretError, match="8 bytes"):
        secret.read(path)


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(secret.SecretError, match="Cannot write"):
        secret.ensure(tmp_path / "file" / "jwt.key")
