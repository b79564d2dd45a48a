"""CPU and memory of a session's processes, by what they are.

CPU is user and system time of all threads, from the kernel's own account (`/proc/<pid>/stat`, to 10 ms);
memory is the proportional set size, in which a page that several share counts once.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from cluster.local import memory, processes
from cluster.local.processes import Process

ENGINE = "engine"
"""The kind that is no framework: vLLM's engine core and its workers, which every peer has alike."""

_KINDS = {
    "VLLM::EngineCore": ENGINE,
    "VLLM::Worker": ENGINE,
    "haproxy": "haproxy",
    "ProxyActor": "ray proxy",
    "Ingress": "ingress",
    "ServeReplica": "replica",
    "ServeController": "serve controller",
    "litellm": "litellm",
    "vllm.entrypoints": "api server",
    "VLLM::APIServer": "api server",
    "bench.apps.bare": "server",
    "raylet": "ray",
    "gcs_server": "ray",
    "dashboard": "ray",
}
"""A part of the command line, as `ps` shows it, and what that process is; the first that fits counts."""


def kind_of(command: str) -> str:
    """What a process is, by its command line: replicas and engines rename themselves."""
    return next((kind for part, kind in _KINDS.items() if part in command), "other")


def cpu_s(session: str) -> Mapping[str, float]:
    """CPU that the processes of a session have used so far, seconds by kind."""
    return _by_kind(session, lambda process: _cpu_s(process.pid))


def memory_bytes(session: str) -> Mapping[str, float]:
    """Memory of the processes of a session, bytes by kind."""
    return _by_kind(session, lambda process: memory.used_bytes([process]))


def private_bytes(session: str) -> Mapping[str, float]:
    """Memory that the processes of a session share with nobody, bytes by kind.

    Unlike the proportional set size it does not change when other programs come or go, so a leak shows in it.
    """
    return _by_kind(session, lambda process: _private_bytes(process.pid))


def since(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    """What came to each kind; a process that has gone meanwhile, with what it had used, counts nothing."""
    return {kind: max(0.0, value - before.get(kind, 0.0)) for kind, value in now.items()}


def without_engine(by_kind: Mapping[str, float]) -> float:
    """The sum over everything that is not the engine."""
    return sum(value for kind, value in by_kind.items() if kind != ENGINE)


def _by_kind(session: str, measure: Callable[[Process], float]) -> Mapping[str, float]:
    found: Counter[str] = Counter()
    for process in processes.find(session):
        try:
            command = Path(f"/proc/{process.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            found[kind_of(command or process.name)] += measure(process)  # type: ignore[assignment]
        except OSError:
            continue  # it has gone meanwhile
    return dict(found)


def _private_bytes(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
