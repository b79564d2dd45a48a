"""Memory: what a session uses, and what the machine still has."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cluster.local.processes import Process

GIB = 1024**3

_KIB = 1024


def used_bytes(processes: Iterable[Process]) -> int:
    """Memory of processes in bytes, a page that several share counted once.

    The sum of each one's proportional set size (PSS): a shared page counts for each with its share
    (Linux, Documentation/filesystems/proc.rst). Processes that have gone count nothing.
    """
    return sum(_proportional_set_bytes(process.pid) for process in processes)


def available_bytes(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Memory that programs can still take, in bytes: the machine's, or the container's where that is less."""
    available = _field((proc / "meminfo").read_text(), "MemAvailable")
    return min([available, *_container_bytes(cgroups)])


def _container_bytes(cgroups: Path) -> Iterable[int]:
    """What is left under the limit of control groups, versions 2 and 1; nothing where there is no limit."""
    for limit, usage, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            text = (cgroups / limit).read_text().strip()
            used = int((cgroups / usage).read_text())
            stat = (cgroups / limit).with_name("memory.stat").read_text()
        except OSError:
            continue
        if text == "max":
            continue
        reclaimable = next(
            (int(line.split()[1]) for line in stat.splitlines() if line.split()[0] == cache), 0
        )
        yield max(0, int(text) - used + reclaimable)


def _proportional_set_bytes(pid: int) -> int:
    try:
        return _field(Path(f"/proc/{pid}/smaps_rollup").read_text(), "Pss")
    except (OSError, LookupError):
        return 0


def _field(text: str, name: str) -> int:
    """A line such as ``MemAvailable:   12345 kB``, in bytes."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * _KIB
    raise LookupError(name)
