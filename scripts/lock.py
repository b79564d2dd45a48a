"""Make the locks again: what `make lock` runs.

uv resolves (it does so for another platform as well, and installs nothing here); it comes into a scratch
environment by itself. Where pip is told to look for packages, uv is told too: it does not read pip's
configuration.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_FOLDER = _ROOT / "requirements"
_PYTHON = "3.11"
_PLATFORM = "x86_64-manylinux_2_28"
_SOURCES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
}
_CONFIGURED = re.compile(r"^(?P<scope>[\w:./-]+?)\.(?P<key>[a-z-]+)='(?P<value>.*)'$")


def main() -> int:
    """Write both locks; 0 when both could be resolved, 1 with uv's reason when not."""
    with tempfile.TemporaryDirectory(prefix="qwen-serve-lock-") as scratch:
        folder = Path(scratch)
        venv.create(folder, with_pip=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
        if subprocess.run([*pip, "install", "--quiet", "uv"], check=False).returncode != 0:
            sys.stderr.write("error: uv cannot be installed; is the package index reachable?\n")
            return 1
        configured = subprocess.run([*pip, "config", "list"], check=True, capture_output=True, text=True)
        env = {**os.environ, **sources(configured.stdout)}
        return max(_resolve(folder / "bin" / "uv", extra, env) for extra in ("cpu", "gpu"))


def sources(configured: str) -> dict[str, str]:
    """Variables that tell uv where pip looks.

    Args:
        configured: What `pip config list` says; variables take precedence over files.
    """
    found: dict[str, str] = {}
    lines = [match for match in map(_CONFIGURED.match, configured.splitlines()) if match]
    for match in sorted(lines, key=lambda match: match["scope"] == ":env:"):
        if variable := _SOURCES.get(match["key"]):
            # Several find-links are separated by commas in uv, several indexes by spaces, as in pip.
            separator = "," if match["key"] == "find-links" else " "
            found[variable] = separator.join(match["value"].replace("\\n", " ").split())
    return found


def _resolve(uv: Path, extra: str, env: dict[str, str]) -> int:
    lock = _FOLDER / f"{extra}.lock"
    command = [
        *(str(uv), "pip", "compile", "pyproject.toml", "--extra", extra, "--extra", "dev"),
        *("--override", str(_FOLDER / f"overrides-{extra}.txt"), "--output-file", str(lock)),
        *("--python-version", _PYTHON, "--python-platform", _PLATFORM),
        *("--index-strategy", "unsafe-best-match", "--no-annotate", "--no-header", "--quiet"),
    ]
    done = subprocess.run(command, cwd=_ROOT, env=env, check=False)
    if done.returncode != 0 and extra == "cpu":
        # The CPU build of torch is not where pip looks: let uv ask PyTorch's own index, for torch alone.
        done = subprocess.run([*command, "--torch-backend", "cpu"], cwd=_ROOT, env=env, check=False)
    if done.returncode == 0:
        # The set-up prefers the CPU build of torchvision and takes another where there is none.
        text = lock.read_text(encoding="utf-8")
        lock.write_text(re.sub(r"(?m)^(torchvision==[^+\s]+)\+cpu$", r"\1", text), encoding="utf-8")
        sys.stdout.write(f"{lock.relative_to(_ROOT)}: {text.count('==')} packages\n")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
