"""Sessions are found and ended with real child processes."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from cluster.local import processes
from cluster.local.memory import used_bytes

_SLEEPER = "print('up', flush=True); import time; time.sleep(60)"
_DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {_SLEEPER}"
# Its child starts without the mark: only its parent tells whose it is.
_PARENT = (
    "import os, subprocess, sys; "
    f"child = subprocess.Popen([sys.executable, '-c', {_SLEEPER!r}], env={{}}, start_new_session=True); "
    "print(child.pid, flush=True); child.wait()"
)

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def mark() -> str:
    return secrets.token_hex(16)


@pytest.fixture
def start(mark: str) -> Iterator[Start]:
    """Start a marked child and wait until it has spoken its first line, which it leaves in `args[-1]`."""
    children: list[subprocess.Popen[str]] = []

    def start_child(code: str, session: str = mark) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, processes.MARK: session},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        children.append(child)
        return child

    yield start_child
    for child in children:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def _first_line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def _wait_until(condition: Callable[[], bool], bound_s: float = 10) -> None:
    deadline = time.monotonic() + bound_s
    while not condition():
        assert time.monotonic() < deadline, "condition not met in time"
        time.sleep(0.02)


def test_finds_only_the_processes_of_the_session(start: Start, mark: str) -> None:
    ours, other = start(_SLEEPER), start(_SLEEPER, session=secrets.token_hex(16))
    _first_line(ours), _first_line(other)

    assert [process.pid for process in processes.find(mark)] == [ours.pid]


def test_a_session_whose_id_begins_alike_is_another(start: Start, mark: str) -> None:
    _first_line(start(_SLEEPER, session=f"{mark}0"))

    assert processes.find(mark) == ()


def test_finds_children_that_have_lost_the_mark(start: Start, mark: str) -> None:
    parent = start(_PARENT)
    child = int(_first_line(parent))

    assert {process.pid for process in processes.find(mark)} == {parent.pid, child}
    assert processes.end(mark, grace_s=10).ended == 2
    assert processes.read(child) is None


def test_a_zombie_is_no_process(start: Start, mark: str) -> None:
    child = start("pass")
    _wait_until(lambda: processes.read(child.pid) is None)

    assert child.returncode is None, "not waited for, so it is still in the table"
    assert processes.find(mark) == ()


def test_polite_process_ends_without_a_kill(start: Start, mark: str) -> None:
    child = start(_SLEEPER)
    _first_line(child)

    assert processes.end(mark, grace_s=10) == processes.Ending(ended=1, killed=0)
    assert child.wait(timeout=60) == -signal.SIGTERM


def test_process_that_ignores_the_request_is_killed_after_the_grace(start: Start, mark: str) -> None:
    child = start(_DEAF)
    _first_line(child)
    begun = time.monotonic()

    assert processes.end(mark, grace_s=0.5) == processes.Ending(ended=1, killed=1)
    assert time.monotonic() - begun >= 0.5
    assert child.wait(timeout=60) == -signal.SIGKILL


def test_force_kills_without_waiting_for_the_grace(start: Start, mark: str) -> None:
    child = start(_DEAF)
    _first_line(child)
    begun = time.monotonic()

    assert processes.end(mark, grace_s=60, force=lambda: True).killed == 1
    assert time.monotonic() - begun < 30
    assert child.wait(timeout=60) == -signal.SIGKILL


def test_a_signal_does_not_reach_a_later_process_with_the_same_id(start: Start) -> None:
    child = start(_SLEEPER)
    _first_line(child)
    now = processes.read(child.pid)
    assert now is not None
    earlier = processes.Process(now.pid, now.parent, now.started - 1, now.name)

    processes.send(earlier, signal.SIGKILL)
    processes.send(now, signal.SIGTERM)

    assert child.wait(timeout=60) == -signal.SIGTERM


def test_memory_counts_shared_pages_once() -> None:
    size = 64 * 1024 * 1024
    # Both processes touch the same pages: each one's resident size has them in full.
    code = (
        f"import mmap, os, time; m = mmap.mmap(-1, {size}); m[::4096] = b'x' * ({size} // 4096); "
        "pid = os.fork(); m[::4096]; print(pid, flush=True) if pid else None; time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        child_pid = int(_first_line(parent))
        try:
            pair = [processes.read(parent.pid), processes.read(child_pid)]
            used = used_bytes(process for process in pair if process is not None)
            assert size <= used < 2 * size
        finally:
            os.kill(child_pid, signal.SIGKILL)
            parent.kill()


def test_memory_of_a_process_that_has_gone_is_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()

    assert used_bytes([processes.Process(child.pid, 1, 1, "gone")]) == 0
