"""One file of a chain, as the process that writes it holds it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

SUFFIX: Final = ".jsonl"


class Segment:
    """Lines on their way into a file.

    What is not yet safe on the disk is kept in memory too, so that after any failure it can be written
    again: after an fsync that failed, Linux may have thrown away what it was given.

    Args:
        path: The file, which is there.
        size_bytes: What of it is good and safe; anything behind is written over.
    """

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.path = path
        self._safe_bytes = size_bytes
        self._tail = bytearray()
        self._given_bytes = 0
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(self._descriptor, size_bytes)
        except OSError:
            os.close(self._descriptor)
            raise

    @property
    def size_bytes(self) -> int:
        """Of the file once everything is written."""
        return self._safe_bytes + len(self._tail)

    @property
    def is_safe(self) -> bool:
        """Whether everything is on the disk."""
        return not self._tail

    def add(self, line: bytes) -> None:
        """Take a line; touches no disk."""
        self._tail += line

    def write(self) -> None:
        """Hand everything to the operating system.

        Raises:
            OSError: It does not take it; call again later, nothing is lost.
        """
        while self._given_bytes < len(self._tail):
            rest = bytes(self._tail[self._given_bytes :])
            self._given_bytes += os.pwrite(self._descriptor, rest, self._safe_bytes + self._given_bytes)

    def sync(self) -> None:
        """Bring everything to the disk.

        Raises:
            OSError: It did not get there; call again later, nothing is lost.
        """
        self.write()
        try:
            os.fsync(self._descriptor)
        except OSError:
            self._given_bytes = 0
            raise
        if os.fstat(self._descriptor).st_nlink == 0:
            raise OSError(errno.ENOENT, "the audit file was deleted while in use; restart", str(self.path))
        self._safe_bytes += len(self._tail)
        self._tail.clear()
        self._given_bytes = 0

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)


def files_of(folder: Path) -> list[Path]:
    """The files of a chain, in its order."""
    return sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIX))


def file_name(first_seq: int, day: str) -> str:
    """Name of the file whose first line has this number."""
    return f"{first_seq:016d}-{day}{SUFFIX}"


def first_seq(path: Path) -> int | None:
    """Number of the first line of a file by its name; None where the name is not one of ours."""
    digits = path.name.partition("-")[0]
    return int(digits) if len(digits) == 16 and digits.isascii() and digits.isdigit() else None
