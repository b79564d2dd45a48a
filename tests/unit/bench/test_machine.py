"""The machine is named by what it is."""

from __future__ import annotations

import re
from pathlib import Path

from bench import machine


def test_name_is_fit_for_a_file_and_says_the_cores() -> None:
    described = machine.describe()

    assert re.fullmatch(r"[a-z0-9-]+-cores", described["name"])
    assert int(described["cores"]) >= 1


def test_versions_are_of_what_is_installed_and_of_the_peers_lock(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text("a==1\nlitellm==9.8.7\nlitellm-enterprise==1\n")

    found = machine.versions(lock, packages=("pytest", "no-such-package"))

    assert found["litellm"] == "9.8.7"
    assert "pytest" in found
    assert "no-such-package" not in found
