"""Available memory: the machine's, or the container's where that is less."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.local.memory import GIB, available_bytes


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    folder = tmp_path / "proc"
    folder.mkdir()
    (folder / "meminfo").write_text(f"MemTotal: {32 * 1024**2} kB\nMemAvailable: {24 * 1024**2} kB\n")
    return folder


def _limit(folder: Path, names: tuple[str, str, str], values: tuple[str, int, int]) -> None:
    (folder / names[0]).parent.mkdir(parents=True, exist_ok=True)
    limit, used, cache = values
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / names[0]).with_name("memory.stat").write_text(f"anon 1\n{names[2]} {cache}\n")


_V1 = ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file")
_V2 = ("memory.max", "memory.current", "inactive_file")


def test_without_a_container_the_machine_counts(proc: Path, tmp_path: Path) -> None:
    assert available_bytes(proc, tmp_path / "none") == 24 * GIB


@pytest.mark.parametrize("names", [_V1, _V2])
def test_limit_of_a_container_counts_and_its_cache_can_be_had(
    proc: Path, tmp_path: Path, names: tuple[str, str, str]
) -> None:
    _limit(tmp_path / "cgroup", names, (str(8 * GIB), 5 * GIB, 1 * GIB))

    assert available_bytes(proc, tmp_path / "cgroup") == 4 * GIB


def test_container_without_a_limit_does_not_count(proc: Path, tmp_path: Path) -> None:
    _limit(tmp_path / "cgroup", _V2, ("max", 5 * GIB, 0))

    assert available_bytes(proc, tmp_path / "cgroup") == 24 * GIB
