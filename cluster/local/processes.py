"""The processes of one session, found by the mark that all of them inherit."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MARK = "QWEN_SERVE_SESSION"
"""Environment variable with the session's id. Ray hands its environment down to every worker, and with
``SPT_NOENV=1`` also leaves it readable when a worker renames itself."""

_PROC = Path("/proc")
_POLL_S = 0.1
_KILL_BOUND_S = 15.0


@dataclass(frozen=True, slots=True)
class Process:
    """A process that cannot be mistaken for a later one with the same id.

    Attributes:
        pid: Process id.
        parent: Process id of the parent.
        started: Start time in clock ticks since boot.
        name: Short name, as `ps` shows it.
    """

    pid: int
    parent: int
    started: int
    name: str


@dataclass(frozen=True, slots=True)
class Ending:
    """How the processes of a session ended.

    Attributes:
        ended: How many there were.
        killed: How many of them had to be killed.
    """

    ended: int
    killed: int


def read(pid: int) -> Process | None:
    """The process with that id, or None when there is none, or only a zombie that waits for its parent."""
    try:
        head, _, tail = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")
    except OSError:
        return None
    fields = tail.split()
    if fields[0] in "ZX":
        return None
    return Process(pid, parent=int(fields[1]), started=int(fields[19]), name=head.partition("(")[2])


def find(session: str) -> tuple[Process, ...]:
    """All living processes of a session: those that carry its mark, and everything below them.

    The launcher itself is never among them.
    """
    mark = f"{MARK}={session}".encode()
    everything = {process.pid: process for process in map(read, _pids()) if process is not None}
    found = {pid for pid in everything if mark in _environment(pid)}
    while True:
        below = {p.pid for p in everything.values() if p.parent in found} - found
        if not below:
            break
        found |= below
    return tuple(everything[pid] for pid in sorted(found - {os.getpid()}))


def end(session: str, *, grace_s: float, force: Callable[[], bool] = lambda: False) -> Ending:
    """Ask every process of a session to stop, and kill what has not stopped in time.

    Args:
        session: The session's id.
        grace_s: Seconds between the request and the kill.
        force: Asked again and again; true ends the grace at once.

    Raises:
        TimeoutError: Processes remain although they were killed.
    """
    asked: set[Process] = set()
    deadline = time.monotonic() + grace_s
    while left := find(session):
        if force() or time.monotonic() >= deadline:
            return Ending(ended=len(asked | set(left)), killed=_kill(session))
        for process in set(left) - asked:
            send(process, signal.SIGTERM)
        asked |= set(left)
        time.sleep(_POLL_S)
    return Ending(ended=len(asked), killed=0)


def send(process: Process, number: signal.Signals) -> None:
    """Send a signal to that very process; nothing happens when it has gone."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        # The handle is bound to one process; only now is it worth asking which.
        if (now := read(process.pid)) is not None and now.started == process.started:
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def _kill(session: str) -> int:
    killed: set[Process] = set()
    deadline = time.monotonic() + _KILL_BOUND_S
    while left := find(session):
        if time.monotonic() >= deadline:
            names = ", ".join(f"{process.name} ({process.pid})" for process in left)
            raise TimeoutError(f"these processes do not end even when killed: {names}")
        for process in left:
            send(process, signal.SIGKILL)
        killed |= set(left)
        time.sleep(_POLL_S)
    return len(killed)


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir(_PROC) if entry.isdigit()]


def _environment(pid: int) -> list[bytes]:
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []  # gone, or another user's
