"""The environment of the peers that are no dependency of this project, made from `bench/requirements.txt`."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_FOLDER = _HERE.parent / ".bench" / "venv"
LOCK = _HERE / "requirements.txt"
"""All packages of the peers, each with its version."""

_STAMP = "made-from"


class EnvironmentFailed(Exception):
    """The peers' packages cannot be installed: what pip said last."""


def prepare(folder: Path = _FOLDER, lock: Path = LOCK) -> Path:
    """Make the environment, unless it is there already, and return the folder of its programs.

    Args:
        folder: Of the environment.
        lock: All packages, each with its version.

    Raises:
        EnvironmentFailed: A package cannot be had.
    """
    stamp, digest = folder / _STAMP, hashlib.sha256(lock.read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text(encoding="ascii") != digest:
        shutil.rmtree(folder, ignore_errors=True)
        sys.stderr.write(f"installing the peers into {folder}\n")
        _run([sys.executable, "-m", "venv", str(folder)])
        _run(
            [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(lock)]
        )
        stamp.write_text(digest, encoding="ascii")
    return folder / "bin"


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = (done.stdout + done.stderr).strip().splitlines() or ["no reason given"]
        raise EnvironmentFailed(f"`{' '.join(command)}` failed: {words[-1]}; is the package index reachable?")
