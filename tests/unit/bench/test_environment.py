"""The peers' environment is made once, and again when its lock changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import environment
from bench.environment import EnvironmentFailed


def test_environment_is_made_once_and_again_for_another_lock(tmp_path: Path) -> None:
    folder, lock = tmp_path / "venv", tmp_path / "requirements.txt"
    lock.write_text("# nothing\n")

    programs = environment.prepare(folder, lock)
    (programs / "made-once").touch()
    assert environment.prepare(folder, lock) == programs
    assert (programs / "made-once").exists()

    lock.write_text("# nothing else\n")
    environment.prepare(folder, lock)
    assert (programs / "python").exists()
    assert not (programs / "made-once").exists()


def test_package_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text(f"{tmp_path}/no-such-package\n")

    with pytest.raises(EnvironmentFailed, match="no-such-package"):
        environment.prepare(tmp_path / "venv", lock)
    assert not list(tmp_path.glob("venv/made-from")), "the next call tries again"


def test_the_lock_pins_every_package() -> None:
    lines = [line for line in environment.LOCK.read_text().splitlines() if not line.startswith("#")]

    assert len(lines) > 50
    assert [line for line in lines if "==" not in line] == []
