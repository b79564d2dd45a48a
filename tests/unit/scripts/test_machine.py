"""What the machine lacks is said before anything is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.machine import SetupFailed, check_compiler, check_disk, check_python, note_cpu


@pytest.mark.parametrize("version", [(3, 11), (3, 12)])
def test_supported_python_passes(version: tuple[int, int]) -> None:
    check_python(version)


@pytest.mark.parametrize("version", [(3, 9), (3, 13)])
def test_other_python_is_refused_with_the_way_out(version: tuple[int, int]) -> None:
    with pytest.raises(SetupFailed, match=rf"this is Python 3\.{version[1]}.*make setup PYTHON="):
        check_python(version)


def test_missing_venv_module_names_the_package_of_debian() -> None:
    with pytest.raises(SetupFailed, match=r"no venv module; on Debian: apt-get install python3\.11-venv"):
        check_python((3, 11), modules=("no_such_module",))


def test_small_disk_gives_both_figures(tmp_path: Path) -> None:
    check_disk(tmp_path, 1)

    with pytest.raises(SetupFailed, match=r"too little disk: .* GiB are free in .* GiB are needed"):
        check_disk(tmp_path, 1 << 60)


def test_cpu_without_avx512_is_only_noted(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags : fpu avx2\n")
    assert "no AVX-512" in (note_cpu(cpuinfo) or "")

    cpuinfo.write_text("flags : fpu avx2 avx512f\n")
    assert note_cpu(cpuinfo) is None


def test_missing_compiler_or_headers_names_the_packages_of_debian(tmp_path: Path) -> None:
    with pytest.raises(SetupFailed, match=r"apt-get install gcc libc6-dev python3\.\d+-dev"):
        check_compiler(headers=tmp_path)
