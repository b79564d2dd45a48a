"""Files with secrets: made once, complete from the first moment, and readable by their owner only."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path


def make(path: Path, content: bytes) -> None:
    """Make a file where there is none.

    Made complete and safe on the disk under another name and linked into place, so that of two processes
    that start at once both use the same.

    Raises:
        OSError: Its folder cannot be written.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # Where another process was first, its secret is the one.
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(beside)
    finally:
        beside.unlink()


def is_open(path: Path) -> bool:
    """Whether others may read or change a file.

    The group may read: that is how Kubernetes mounts a secret for a process that is not root.

    Raises:
        OSError: There is no such file.
    """
    return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO) & ~stat.S_IRGRP)
