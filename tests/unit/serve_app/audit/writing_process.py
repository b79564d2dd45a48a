"""A process that writes records until it is told to stop, or killed; a part of the tests of a crash."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

from serve_app.audit import Audit, AuditConfig
from tests.unit.serve_app.audit.conftest import numbered

RECORDS_PER_S = 1000


def main(directory: Path) -> None:
    """Write numbered records at a steady rate, and print the number of each once it was accepted."""
    config = AuditConfig(
        directory=directory, signing_key_file=directory.parent / "audit.key", max_file_bytes=65_536
    )
    audit = Audit.open(config, "host")
    begin, number = time.monotonic(), 0
    while True:
        while number < (time.monotonic() - begin) * RECORDS_PER_S:
            assert audit.write(replace(numbered(number), timestamp=time.time()))
            sys.stdout.write(f"{number} {time.monotonic()}\n")
            number += 1
        sys.stdout.flush()
        time.sleep(0.002)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
