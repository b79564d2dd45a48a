"""What of a download is done, a line per finished part: a kill costs the parts under way only."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from deployments.weights.disk import disk_errors

JOURNAL_FILE: Final = "journal.jsonl"

Part = tuple[int, int]
"""Bytes of a file, from the first up to but without the last."""


@dataclass
class Record:
    """What a journal says.

    Attributes:
        source: Address of the model.
        total_bytes: Its size.
        part_bytes: Size of a part; that of the first attempt stays.
        parts: Finished parts, by file.
        whole: Files that are complete and verified, with their size.
        failure: Why the last attempt failed; empty if it did not, or is under way.
    """

    source: str = ""
    total_bytes: int = 0
    part_bytes: int = 0
    parts: defaultdict[str, set[Part]] = field(default_factory=lambda: defaultdict(set))
    whole: dict[str, int] = field(default_factory=dict)
    failure: str = ""

    @classmethod
    def read(cls, path: Path) -> Record | None:
        """Read a journal; None if there is none. A line that a kill cut short counts for nothing."""
        try:
            lines = path.read_bytes().splitlines()
        except OSError:
            return None
        record = cls()
        for line in lines:
            try:
                record._take(*json.loads(line))
            except (ValueError, TypeError):
                continue
        return record if record.part_bytes > 0 else None

    @property
    def done_bytes(self) -> int:
        """Bytes that need not be fetched again."""
        ranges = ((end - start) for name, parts in self._open() for start, end in parts)
        return sum(self.whole.values()) + sum(ranges)

    def _open(self) -> Iterator[tuple[str, set[Part]]]:
        return ((name, parts) for name, parts in self.parts.items() if name not in self.whole)

    def _take(self, event: str, *values: Any) -> None:
        match event, values:
            case "begin", (str(source), int(total), int(part)):
                self.source, self.total_bytes, self.failure = source, total, ""
                self.part_bytes = self.part_bytes or part
            case "part", (str(name), int(start), int(end)):
                self.parts[name].add((start, end))
            case "whole", (str(name), int(size)):
                self.whole[name] = size
            case "again", (str(name),):
                self.parts.pop(name, None)
                self.whole.pop(name, None)
            case "failed", (str(message),):
                self.failure = message


class Journal:
    """Writes a journal. Threads may share it: a line is one write to a file opened for appending.

    Raises:
        DiskFull, CacheUnusable: From every method.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def begin(self, source: str, total_bytes: int, part_bytes: int) -> Record:
        """Start an attempt and tell what earlier ones have done."""
        with disk_errors(self._path):
            if self._path.exists() and not self._path.read_bytes().endswith(b"\n"):
                # A line that was cut short must not swallow the next one.
                self._append(b"\n")
        self._write("begin", source, total_bytes, part_bytes)
        record = Record.read(self._path)
        assert record is not None
        return record

    def part(self, name: str, part: Part) -> None:
        """These bytes are on disk."""
        self._write("part", name, *part)

    def whole(self, name: str, size: int) -> None:
        """This file is complete and verified."""
        self._write("whole", name, size)

    def again(self, name: str) -> None:
        """This file is to be fetched from its start."""
        self._write("again", name)

    def failed(self, message: str) -> None:
        """The attempt is given up."""
        self._write("failed", message)

    def _write(self, *values: str | int) -> None:
        with disk_errors(self._path):
            self._append(json.dumps(values).encode() + b"\n")

    def _append(self, line: bytes) -> None:
        descriptor = os.open(
            self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644
        )
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
