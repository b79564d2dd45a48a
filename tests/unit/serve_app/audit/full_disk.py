"""A process whose files may not grow, as on a full disk; a part of the tests of the log."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from serve_app.audit import Audit, AuditConfig
from tests.unit.serve_app.audit.conftest import numbered

DEADLINE_S = 10.0


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait, but not for ever."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the deadline is over"
        time.sleep(0.005)


def main(directory: Path) -> None:
    """Fill the disk, go on, and make room again."""
    config = AuditConfig(
        directory=directory,
        signing_key_file=directory.parent / "audit.key",
        fsync_interval_s=0.05,
        queue_records=100,
        queue_slack_records=50,
    )
    audit = Audit.open(config, "host")
    assert all(audit.write(numbered(number)) for number in range(50))
    assert audit.flush(DEADLINE_S)

    # In the middle of a line.
    (path,) = audit.folder.glob("*.jsonl")
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 1000, resource.RLIM_INFINITY))
    assert audit.write(numbered(50))
    assert audit.write(numbered(51))
    wait_for(lambda: not audit.healthy)
    sys.stdout.write(audit.problem)
    assert not audit.flush(0.1)

    accepted = 0
    while audit.admit():
        assert audit.write(numbered(52 + accepted))
        accepted += 1
    assert accepted == 100
    # Requests in hand still find room, until there is none.
    while audit.write(numbered(52 + accepted)):
        accepted += 1
    assert accepted == 150

    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    wait_for(lambda: audit.healthy)
    assert audit.flush(DEADLINE_S)
    assert audit.admit()
    assert audit.unrecorded == 2
    assert audit.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
