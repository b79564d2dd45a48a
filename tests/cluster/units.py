"""The units of `cluster/ray/systemd` as a program reads them: their commands and what they are told."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

RAY: Final = Path(__file__).resolve().parents[2] / "cluster" / "ray"
UNITS: Final = RAY / "systemd"


def command(unit: str, variables: Mapping[str, str], key: str = "ExecStart") -> list[str]:
    """The words of a unit's command, as systemd splits them, with its variables filled in.

    Args:
        unit: Such as ``head``.
        variables: Whatever stands as ``${NAME}``.
        key: Which of its commands; the first where there are several.
    """
    text = (UNITS / f"qwen-serve-{unit}.service").read_text(encoding="utf-8").replace("\\\n", " ")
    (line, *_) = re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)
    return [re.sub(r"\$\{(\w+)\}", lambda match: variables[match[1]], word) for word in shlex.split(line)]


def variables() -> dict[str, str]:
    """What ``ray.env`` tells."""
    found = {}
    for line in (RAY / "ray.env").read_text(encoding="utf-8").splitlines():
        name, assigned, value = line.partition("=")
        if assigned and not line.startswith("#"):
            (found[name],) = shlex.split(value)
    return found
