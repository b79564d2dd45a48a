"""Make `.venv` from a lock: what `make setup` runs, with the system's Python and nothing but it.

    python3.11 -m scripts.bootstrap [--extra cpu|gpu]

Quick when nothing has changed: a stamp in `.venv` holds a hash of everything that it was made from.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Iterator, Sequence  # noqa: UP035  (an older Python must come as far as check_python)

from scripts.installer import Installer
from scripts.machine import GIB, SetupFailed, check_compiler, check_disk, check_python, note_cpu

PYTORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"

_STAMP = "qwen-serve.json"
_UNDER_WAY = "qwen-serve.under-way"
_DISK_BYTES = {"cpu": 6 * GIB, "gpu": 25 * GIB}
"""Environment plus what pip unpacks on the way; measured for cpu: 3.0 GiB installed, 1.1 GiB of wheels."""
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;#]+)")
# Built from source, with the torch that is already installed.
_FROM_SOURCE = ("flash-attn", "gptqmodel")
_TORCH = ("torch", "torchvision")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make or mend the environment; 0 when it is ready, 1 with one line on standard error when not."""
    parser = argparse.ArgumentParser(description="Make .venv from a lock.")
    parser.add_argument("--extra", choices=sorted(_DISK_BYTES), default="cpu")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    options = parser.parse_args(arguments)
    try:
        check_python()
        with _alone(options.root / ".qwen-serve"):
            Environment(options.root, options.extra).make()
    except SetupFailed as failure:
        sys.stderr.write(f"error: {failure}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; the next `make setup` begins anew\n")
        return 130
    return 0


class Environment:
    """The virtual environment of a checkout.

    Args:
        root: The checkout.
        extra: Which lock: ``cpu`` or ``gpu``.
    """

    def __init__(self, root: Path, extra: str) -> None:
        self.root = root
        self.folder = root / ".venv"
        self.python = self.folder / "bin" / "python"
        self.stamp = self.folder / _STAMP
        self.under_way = self.folder / _UNDER_WAY
        self.lock = root / "requirements" / f"{extra}.lock"
        self._extra = extra

    def make(self) -> None:
        """Bring the environment into the state that the lock describes; nothing when it is in it.

        Raises:
            SetupFailed: In one line, what is wrong and what to do.
        """
        pins = read_pins(self.lock)
        if self.is_ready(pins):
            return
        began = time.monotonic()
        if note := note_cpu():
            _say(note)
        check_disk(self.root, _DISK_BYTES[self._extra])
        check_compiler()
        if not self.can_be_mended():
            self._create()
        self.under_way.touch()
        self._install(pins)
        self.write_stamp()
        self.under_way.unlink()
        _say(f"environment ready after {time.monotonic() - began:.0f} s: {self.folder}")

    def is_ready(self, pins: dict[str, str]) -> bool:
        """Whether the stamp fits, and every locked package is there in its version."""
        try:
            stamp = json.loads(self.stamp.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return stamp == self._description() and self.python.exists() and not self.missing(pins)

    def write_stamp(self) -> None:
        """Record what the environment was made from."""
        self.stamp.write_text(json.dumps(self._description()), encoding="utf-8")

    def missing(self, pins: dict[str, str]) -> list[str]:
        """Names of locked packages that are not installed in their version."""
        installed = {}
        for folder in self.folder.glob("lib/python3.*/site-packages/*.dist-info"):
            # A package whose installation was cut off has a folder, but no record in it yet.
            if (folder / "RECORD").is_file():
                name, _, version = folder.name[: -len(".dist-info")].partition("-")
                installed[canonical(name)] = version
        return [name for name, version in pins.items() if not _same(installed.get(name), version)]

    def can_be_mended(self) -> bool:
        """Whether what is there can be built upon: it runs, has pip, and no installation was cut off."""
        if not self.python.exists() or self.under_way.exists():
            return False
        probe = "import pip, sys; print(sys.prefix, *sys.version_info[:2])"
        answer = subprocess.run([self.python, "-c", probe], capture_output=True, text=True, check=False)
        # A moved checkout has the old folder's name in its scripts.
        written = (self.folder / "bin" / "pip").read_text(errors="replace") if answer.returncode == 0 else ""
        return str(self.folder) in written and answer.stdout.split()[1:] == [
            str(n) for n in sys.version_info[:2]
        ]

    def _create(self) -> None:
        if self.folder.exists():
            _say(f"{self.folder} is broken or half made, or belongs to another Python: beginning anew")
            shutil.rmtree(self.folder)
        _say(f"creating {self.folder} with Python {platform.python_version()}")
        made = subprocess.run(
            [sys.executable, "-m", "venv", self.folder],
            capture_output=True,
            text=True,
            check=False,
            env={key: value for key, value in os.environ.items() if key != "PYTHONHOME"},
        )
        if made.returncode != 0:
            shutil.rmtree(self.folder, ignore_errors=True)
            words = (made.stdout + made.stderr).strip().splitlines() or ["no reason given"]
            raise SetupFailed(f"cannot create {self.folder}: {words[-1]}; is the module venv complete?")

    def _install(self, pins: dict[str, str]) -> None:
        pip = Installer(self.python, self.root / ".qwen-serve" / "logs" / "setup.log", len(pins))
        later = set(_FROM_SOURCE)
        if self._extra == "cpu":
            later |= set(_TORCH)
            install_cpu_torch(pip, pins)
        pip.install([f"{name}=={version}" for name, version in pins.items() if name not in later])
        if sources := [f"{name}=={pins[name]}" for name in _FROM_SOURCE if name in pins]:
            _say(f"building {', '.join(sources)} from source; this can take long")
            pip.install(["--no-build-isolation", *sources])
        # setuptools is in the lock, so that not even building this project asks an index.
        pip.install(["--no-build-isolation", "--editable", str(self.root)])
        if self._extra == "cpu":
            self._run("-m", "deployments.torchvision_cpu")
        self._compile()

    def _compile(self) -> None:
        """Byte code for all packages: without it an engine starts three times slower.

        pip writes it unless it is told not to (``no-compile``); ``PYTHONDONTWRITEBYTECODE`` would keep
        Python from doing it later.
        """
        packages = next(self.folder.glob("lib/python3.*/site-packages"))
        code = packages / "ray" / "__init__.py"
        if code.exists() and not Path(importlib.util.cache_from_source(str(code))).exists():
            _say("compiling packages")
            # Some packages carry sources for other versions of Python; those fail, and do not matter.
            subprocess.run(
                [self.python, "-m", "compileall", "-q", "-j0", packages], capture_output=True, check=False
            )

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(
            [self.python, *arguments], capture_output=True, text=True, check=False, cwd=self.root
        )
        if done.returncode != 0:
            words = done.stderr.strip().splitlines() or ["no reason given"]
            raise SetupFailed(f"`{' '.join(arguments)}` failed: {words[-1]}")

    def _description(self) -> dict[str, str]:
        """Everything that the environment is made from."""
        digest = hashlib.sha256()
        for source in (self.lock, self.root / "pyproject.toml"):
            digest.update(source.read_bytes())
        return {
            "extra": self._extra,
            "folder": str(self.folder),
            "python": platform.python_version(),
            "sources": digest.hexdigest(),
        }


def install_cpu_torch(pip: Installer, pins: dict[str, str]) -> None:
    """Install torch and torchvision, from wherever pip is told to look, or from PyTorch's CPU index.

    A CPU build of torchvision is preferred. Where there is none, the locked version of the index is
    taken, and `deployments.torchvision_cpu` makes it work.

    Raises:
        SetupFailed: There is no CPU build of torch in either place.
    """
    torch, vision = (f"{name}=={pins[name]}" for name in _TORCH)
    vision_cpu = vision if "+" in vision else f"{vision}+cpu"
    if not pip.try_install([torch]):
        _say(f"torch {pins['torch']} is not where pip looks; asking {PYTORCH_CPU_INDEX}")
        pip.install(["--index-url", PYTORCH_CPU_INDEX, torch, vision_cpu])
    elif not pip.try_install([vision_cpu]):
        # Only a wish: do not wait long for an index that may be out of reach.
        wish = ["--index-url", PYTORCH_CPU_INDEX, "--timeout", "10", "--retries", "0", vision_cpu]
        if not pip.try_install(wish):
            pip.install([vision])


def read_pins(lock: Path) -> dict[str, str]:
    """Version by canonical name, of every package in a lock.

    Raises:
        SetupFailed: There is no such lock.
    """
    try:
        lines = lock.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SetupFailed(f"cannot read {lock}: {error.strerror}; is the checkout complete?") from error
    return {canonical(match["name"]): match["version"] for match in map(_PIN.match, lines) if match}


def canonical(name: str) -> str:
    """A package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _same(installed: str | None, pinned: str) -> bool:
    """A pin without a local part takes any build: ``0.28.0`` is satisfied by ``0.28.0+cpu``."""
    return installed is not None and pinned in (installed, installed.partition("+")[0])


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other set-up of this checkout is under way."""
    folder.mkdir(exist_ok=True)
    with (folder / "setup.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("waiting for another `make setup` of this folder")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
