"""What this machine must have, and the one error of the set-up."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Sequence  # noqa: UP035  (an older Python must come as far as check_python)

GIB = 1024**3


class SetupFailed(Exception):
    """The environment cannot be made; the message is one line: what is wrong and what to do."""


def check_python(
    version: Sequence[int] = sys.version_info[:2], modules: Sequence[str] = ("venv", "ensurepip")
) -> None:
    """The running Python is of a supported version and can create environments.

    Raises:
        SetupFailed: It is not, or cannot.
    """
    major, minor = version
    if not (3, 11) <= (major, minor) <= (3, 12):
        raise SetupFailed(
            f"this is Python {major}.{minor}, and 3.11 or 3.12 is needed; "
            "name one: make setup PYTHON=/path/to/python3.11"
        )
    if any(importlib.util.find_spec(module) is None for module in modules):
        raise SetupFailed(
            f"Python {major}.{minor} has no venv module; "
            f"on Debian: apt-get install python{major}.{minor}-venv"
        )


def check_disk(folder: Path, needed: int) -> None:
    """There is room for the environment, in bytes.

    Raises:
        SetupFailed: There is not.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SetupFailed(
            f"too little disk: {free / GIB:.1f} GiB are free in {folder} and {needed / GIB:.0f} GiB are "
            "needed; make room, or put the checkout on a larger disk"
        )


def check_compiler(headers: Path | None = None) -> None:
    """There is a C compiler and Python's headers: the quantizer's pattern library is built on the spot.

    Raises:
        SetupFailed: There is not.
    """
    headers = headers or Path(sysconfig.get_path("include"))
    if shutil.which("cc") is None or not (headers / "Python.h").is_file():
        raise SetupFailed(
            "a C compiler and Python's headers are needed and not here; "
            f"on Debian: apt-get install gcc libc6-dev python{sys.version_info[0]}.{sys.version_info[1]}-dev"
        )


def note_cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """What is worth knowing about this CPU; None when it can do everything."""
    try:
        able = "avx512f" in cpuinfo.read_text(encoding="utf-8")
    except OSError:
        return None
    return None if able else "note: this CPU has no AVX-512; INT4 models will not run on it, all others will"
