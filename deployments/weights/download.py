"""Files fetched in parts, side by side, each part once."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial as bind

from deployments.weights.disk import disk_errors, write_at
from deployments.weights.errors import ChecksumMismatch, StreamBroken, WeightsError
from deployments.weights.inventory import RemoteFile
from deployments.weights.journal import Part
from deployments.weights.partial import Partial
from deployments.weights.progress import Progress
from deployments.weights.workers import Task, run_all

Read = Callable[[RemoteFile, int, int], Iterator[bytes]]
"""Bytes of a file from the second up to but without the third argument; raises ``StreamBroken`` midway."""

_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0


class Stopped(WeightsError):
    """Another part failed; nobody sees this one."""


class Download:
    """One attempt to complete a partial model.

    Args:
        read: Reads from the source.
        partial: Where the files go.
        progress: Told of every byte.
        workers: Parts that are fetched at once.
        max_attempts: Tries of a stream that breaks without bringing a byte.
    """

    def __init__(
        self, read: Read, partial: Partial, progress: Progress, *, workers: int, max_attempts: int
    ) -> None:
        self._read, self._partial, self._progress = read, partial, progress
        self._workers, self._max_attempts = workers, max_attempts
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._left: Counter[str] = Counter()

    def run(self) -> None:
        """Fetch what is missing and verify every file that has not been yet.

        Raises:
            WeightsError: The first thing that went wrong; what is done stays noted.
        """
        self._partial.lay_out()
        run_all(self._tasks(), self._workers, self._stopped)

    def _tasks(self) -> Iterator[Task]:
        for file in self._partial.inventory.files:
            if file.name in self._partial.record.whole:
                continue
            parts = list(self._partial.missing(file))
            self._left[file.name] = len(parts)
            if not parts:
                yield bind(self._complete, file)
        # The counts stand before the first part can be done.
        for file in self._partial.inventory.files:
            if self._left[file.name]:
                yield from (bind(self._part, file, part) for part in list(self._partial.missing(file)))

    def _part(self, file: RemoteFile, part: Part) -> None:
        self._fetch(file, part)
        with self._lock:
            self._left[file.name] -= 1
            last = self._left[file.name] == 0
        if last:
            self._complete(file)

    def _complete(self, file: RemoteFile) -> None:
        """Verify a file; if it is wrong, fetch it once more: an earlier attempt may be at fault."""
        try:
            self._partial.verify(file)
        except ChecksumMismatch:
            self._partial.journal.again(file.name)
            self._progress.drop(file.size)
            step = self._partial.record.part_bytes
            for start in range(0, file.size, step):
                self._fetch(file, (start, min(start + step, file.size)))
            try:
                self._partial.verify(file)
            except ChecksumMismatch:
                self._partial.journal.again(file.name)
                raise

    def _fetch(self, file: RemoteFile, part: Part) -> None:
        """Fetch a part and note it when it is on disk."""
        path = self._partial.path(file)
        with disk_errors(path):
            descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
        try:
            position, fruitless = part[0], 0
            while position < part[1]:
                reached = self._copy(file, descriptor, position, part[1])
                fruitless = 0 if reached > position else fruitless + 1
                if fruitless == self._max_attempts:
                    where = self._partial.location.file(file.name)
                    raise StreamBroken(f"{where}: the stream broke {fruitless} times; check the network")
                if fruitless:
                    self._stopped.wait(min(_PAUSE_S * 2**fruitless, _LONGEST_PAUSE_S))
                position = reached
            with disk_errors(path):
                os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        self._partial.journal.part(file.name, part)

    def _copy(self, file: RemoteFile, descriptor: int, position: int, end: int) -> int:
        """Copy until the end or until the stream breaks; how far it came."""
        try:
            for chunk in self._read(file, position, end):
                if self._stopped.is_set():
                    raise Stopped
                with disk_errors(self._partial.path(file)):
                    write_at(descriptor, chunk[: end - position], position)
                position += len(chunk)
                self._progress.add(len(chunk))
        except StreamBroken:
            pass
        return min(position, end)
