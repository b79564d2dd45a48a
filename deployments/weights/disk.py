"""The disk under the cache: its errors in our words, its room, what survives a power cut."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployments.weights.errors import CacheUnusable, DiskFull

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says about a file or folder of the cache into an error of ours.

    Raises:
        DiskFull: No space, or no quota, is left.
        CacheUnusable: Anything else: permissions, a read-only or a broken disk.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull(
                f"{path}: the disk is full; free some, or put weights.cache_dir on a larger one "
                "(what was downloaded is kept, and the download goes on from there)"
            ) from error
        raise CacheUnusable(
            f"{path} cannot be written: {error.strerror}; make it writable, or set weights.cache_dir "
            "to another folder"
        ) from error


def free_bytes(folder: Path) -> int:
    """Room for us on the disk of a folder that exists, bytes."""
    return shutil.disk_usage(folder).free


def write_at(descriptor: int, data: bytes, position: int) -> None:
    """Write all of it; the system may take less at once."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, position)
        view, position = view[written:], position + written


def sync(path: Path) -> None:
    """Bring a file or a folder's list of names to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
