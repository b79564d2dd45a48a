"""pip, run with progress that can be followed and errors that say what to do."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Sequence  # noqa: UP035  (an older Python must come as far as machine.check_python)

from scripts.machine import SetupFailed

_LOG_EVERY_S = 15.0
_CLEAR_LINE = "\r\x1b[K"

# Where pip's configuration names constraints, pip says "conflicting" of a version that is nowhere to be
# found: with --no-deps nothing else can conflict.
_NOT_FOUND = re.compile(
    r"No matching distribution found for (\S+)"
    r"|Cannot install (\S+) because these package versions have conflicting dependencies"
)
_UNREACHABLE = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeoutError|ReadTimeoutError|ProxyError"
    r"|Max retries exceeded|Temporary failure in name resolution|Network is unreachable"
    r"|Connection (?:refused|reset|aborted|broken)"
)
_BUILD_FAILED = re.compile(r"Failed (?:to build|building wheel for) '?([\w.-]+)")
_TRANSLATIONS = (
    (re.compile(r"No space left on device"), "the disk is full; make room and run `make setup` again"),
    (
        re.compile(r"CERTIFICATE_VERIFY_FAILED|SSLError"),
        "the package index's certificate is not trusted; name your authority's file: "
        "export PIP_CERT=/path/to/ca.pem",
    ),
    (
        re.compile(r"\b(?:401|403|407) Client Error|Proxy Authentication Required"),
        "the package index refuses access; check pip's configuration (`pip config list`) and "
        "the proxy's password",
    ),
    (
        re.compile(
            r"command '[^']*(?:gcc|g\+\+|cc)' failed|unable to execute '[^']*(?:gcc|g\+\+|cc)'"
            r"|No CMAKE_CXX_COMPILER"
        ),
        "a C++ compiler is missing; on Debian: apt-get install build-essential",
    ),
    (
        re.compile(r"CUDA_HOME environment variable is not set|nvcc was not found"),
        "CUDA's compiler is missing; install the CUDA toolkit and set CUDA_HOME",
    ),
    (re.compile(r"Permission denied"), "a file may not be written; does .venv belong to another user?"),
)


class Installer:
    """Installs into an environment exactly what it is told, and nothing that it depends on.

    Args:
        python: The environment's interpreter.
        log: Where everything that pip says goes.
        packages: How many packages there are in all, for the progress.
    """

    def __init__(self, python: Path, log: Path, packages: int) -> None:
        self._python = python
        self._log = log
        self._packages = packages
        self._collected = 0
        self._began = time.monotonic()
        self._shown_at = 0.0
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("", encoding="utf-8")

    def install(self, arguments: Sequence[str]) -> None:
        """Install.

        Raises:
            SetupFailed: pip's reason, translated.
        """
        returncode, output = self._pip(arguments)
        if returncode != 0:
            raise SetupFailed(explain(output, self._log))

    def try_install(self, arguments: Sequence[str]) -> bool:
        """Install if it can be found; whether it was.

        Raises:
            SetupFailed: For any other reason than that there is no such package in reach.
        """
        returncode, output = self._pip(arguments)
        if returncode != 0 and not _NOT_FOUND.search(output):
            raise SetupFailed(explain(output, self._log))
        return returncode == 0

    def _pip(self, arguments: Sequence[str]) -> tuple[int, str]:
        command = [
            *(str(self._python), "-m", "pip", "--no-input", "--disable-pip-version-check", "install"),
            *("--no-deps", "--progress-bar=off", *arguments),
        ]
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n")
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
            )
            assert process.stdout is not None
            with process:
                output = self._follow(process.stdout, log)
        return process.returncode, output

    def _follow(self, lines: IO[str], log: IO[str]) -> str:
        kept = []
        for line in lines:
            kept.append(line)
            log.write(line)
            if line.startswith(("Collecting ", "Processing ", "Requirement already satisfied")):
                self._collected += 1
                self._show(f"{self._collected} of {self._packages} packages found")
            elif line.startswith("Installing collected packages"):
                names = line.partition(":")[2].split(",")
                what = names[0].strip() if len(names) == 1 else f"{len(names)} packages"
                self._show(f"installing {what}", last=True)
        if sys.stdout.isatty():
            sys.stdout.write(_CLEAR_LINE)
        return "".join(kept)

    def _show(self, what: str, *, last: bool = False) -> None:
        now = time.monotonic()
        text = f"{now - self._began:4.0f} s  {what}"
        if sys.stdout.isatty():
            sys.stdout.write(f"{_CLEAR_LINE}{text}")
        elif last or now - self._shown_at >= _LOG_EVERY_S:
            self._shown_at = now
            sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def explain(output: str, log: Path) -> str:
    """One line for what pip said: what is wrong and what to do.

    Args:
        output: Everything that it said.
        log: Where that can be read.
    """
    for pattern, message in _TRANSLATIONS:
        if pattern.search(output):
            return f"{message} (all of it: {log})"
    if _UNREACHABLE.search(output):
        return (
            "the package index cannot be reached; check the network, or tell pip about a mirror "
            f"(`pip config set global.index-url URL`) or a proxy (HTTPS_PROXY) (all of it: {log})"
        )
    if found := _NOT_FOUND.search(output):
        here = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
        return (
            f"there is no wheel of {found[1] or found[2]} for {here} "
            "where pip looks; use Python 3.11 on x86_64 Linux, or tell pip where it is (PIP_FIND_LINKS) "
            f"(all of it: {log})"
        )
    if failed := _BUILD_FAILED.search(output):
        return f"{failed[1]} cannot be built from source; the reason is in {log}"
    errors = [line for line in output.splitlines() if line.startswith("ERROR")] or ["ERROR: no reason given"]
    return f"pip failed: {errors[-1].partition(' ')[2]} (all of it: {log})"
