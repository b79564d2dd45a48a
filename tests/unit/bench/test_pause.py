"""A session stands still in the block, and only there."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

from bench.pause import paused
from cluster.local import processes


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_sessions_stand_still_within_the_block_only() -> None:
    mark = secrets.token_hex(16)
    child = subprocess.Popen(
        [sys.executable, "-c", "input()"],
        env={**os.environ, processes.MARK: mark},
        stdin=subprocess.PIPE,
    )
    try:
        with paused([mark]):
            assert _state(child.pid) == "T"
        deadline = time.monotonic() + 5
        while _state(child.pid) == "T":
            assert time.monotonic() < deadline, "it still stands"
            time.sleep(0.02)
    finally:
        child.kill()
        child.communicate()
