"""A process that is killed while it writes: what was accepted and older than an interval is there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from serve_app.audit import Audit, AuditConfig
from serve_app.audit.chain import parse
from serve_app.audit.segment import files_of
from serve_app.audit.signing import read_public
from serve_app.audit.verify import verify

ROOT = Path(__file__).resolve().parents[4]
ROUNDS = 3
WRITE_DELAY_S = AuditConfig().write_delay_s


def test_killed_writer_loses_an_interval_at_most_and_the_chain_goes_on(tmp_path: Path) -> None:
    directory, key = tmp_path / "audit", tmp_path / "audit.key"
    for recovered in range(ROUNDS):
        accepted = _write_and_kill(directory)
        killed_at = time.monotonic()
        (report,) = verify(directory, read_public([key]))
        assert report.problem is None
        assert report.recovered == recovered
        there = _last_numbers(directory)
        assert there == list(range(len(there)))
        lost = [at for number, at in accepted if number >= len(there)]
        # A process that dies takes what was not yet handed over; a busy machine gets some room.
        assert all(killed_at - at < WRITE_DELAY_S + 1 for at in lost)
        assert len(there) > 300

    Audit.open(AuditConfig(directory=directory, signing_key_file=key), "host").close()
    (report,) = verify(directory, read_public([key]))
    assert (report.problem, report.recovered, report.unsigned) == (None, ROUNDS, 0)


def _write_and_kill(directory: Path) -> list[tuple[int, float]]:
    command = [sys.executable, "-m", "tests.unit.serve_app.audit.writing_process", str(directory)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    accepted = []
    assert process.stdout is not None
    for line in process.stdout:
        number, at = line.split()
        accepted.append((int(number), float(at)))
        if len(accepted) == 1000:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.stdout.close()
    process.wait(10)
    return accepted


def _last_numbers(directory: Path) -> list[int]:
    """The numbers of the records that the last process has written."""
    numbers: list[int] = []
    for path in files_of(directory / "host.0"):
        for line in path.read_bytes().splitlines():
            said = parse(line)
            if said["kind"] == "recovered":
                numbers.clear()
            if said["kind"] == "record":
                numbers.append(int(said["request_id"].removeprefix("req-")))
    return numbers
