"""One session per folder; what a killed one leaves is found and cleared."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.local import processes, session
from cluster.local.failure import LaunchFailed

_LEFT_BEHIND = "print('up', flush=True); import time; time.sleep(60)"
# A launcher that starts a session with one process in it, and waits to be killed.
_LAUNCHER = f"""
import os, pathlib, subprocess, sys, time
from cluster.local import processes, session
with session.begin(pathlib.Path(sys.argv[1]), 8000) as current:
    subprocess.Popen(
        [sys.executable, "-c", {_LEFT_BEHIND!r}],
        env={{**os.environ, processes.MARK: current.id}},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    print(current.id, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


def test_everything_of_a_session_but_its_logs_goes_with_it(folder: Path) -> None:
    with session.begin(folder, 8000) as current:
        current.ray_logs.mkdir(parents=True)
        (current.ray_logs / "raylet.out").write_text("started")
        assert (current.logs / "ray" / "raylet.out").read_text() == "started"

    assert not current.temp_dir.exists()
    assert not current.private_dir.exists()
    assert session.recorded(folder) is None
    assert (folder / "logs" / "ray" / "raylet.out").read_text() == "started"


def test_only_the_owner_reads_the_token_and_the_temporary_folder(folder: Path) -> None:
    with session.begin(folder, 8000) as current:
        assert current.token_file.stat().st_mode & 0o077 == 0
        assert current.temp_dir.stat().st_mode & 0o077 == 0
        current.temp_dir.chmod(0o777)  # as Ray does
        assert current.token_file.parent.stat().st_mode & 0o077 == 0
        assert len(current.token_file.read_text()) == 64


def test_sockets_of_ray_fit_below_the_temporary_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = folder / ("d" * 80)
    deep.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    longest = "session_2026-11-23_06-12-34_123456_1234567/sockets/plasma_store.1234567890"

    with session.begin(folder, 8000) as current:
        assert len(str(current.temp_dir / longest)) <= 107


def test_second_session_of_a_folder_is_refused(folder: Path) -> None:
    with session.begin(folder, 8123):
        with (
            pytest.raises(
                LaunchFailed, match=rf"already running on port 8123 \(process {os.getpid()}\).*make stop"
            ),
            session.begin(folder, 8124),
        ):
            pass
        assert session.recorded(folder) is not None


def _start_launcher(folder: Path) -> tuple[subprocess.Popen[str], str]:
    launcher = subprocess.Popen(
        [sys.executable, "-c", _LAUNCHER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert launcher.stdout is not None
    mark = launcher.stdout.readline().strip()
    launcher.stdout.close()
    deadline = time.monotonic() + 10
    while len(processes.find(mark)) != 1:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return launcher, mark


def test_next_start_clears_what_a_killed_launcher_has_left(folder: Path) -> None:
    launcher, mark = _start_launcher(folder)
    launcher.kill()
    launcher.wait()
    left = session.recorded(folder)
    assert left is not None
    assert left.id == mark
    assert len(processes.find(mark)) == 1, "nothing has cleared it yet"

    with session.begin(folder, 8000) as current:
        assert processes.find(mark) == ()
        assert not left.temp_dir.exists()
        assert current.id != mark


def test_stop_ends_a_session_whose_launcher_lives(folder: Path) -> None:
    launcher, mark = _start_launcher(folder)

    # This launcher does not handle the signal, so that it leaves its process behind.
    assert session.stop(folder).startswith(("stopped", "cleared"))

    assert launcher.wait(timeout=60) == -signal.SIGTERM
    assert processes.find(mark) == ()
    assert session.recorded(folder) is None


def test_stop_without_a_session_says_so(folder: Path) -> None:
    assert session.stop(folder) == "nothing is running"


def test_unreadable_record_is_no_session(folder: Path) -> None:
    folder.mkdir()
    (folder / "session.json").write_text("{")

    assert session.recorded(folder) is None
    with session.begin(folder, 8000) as current:
        assert current.port == 8000
