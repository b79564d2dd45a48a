"""How far a model has come: for the log, and for whoever asks."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

logger = logging.getLogger("ray.serve")


class Phase(StrEnum):
    """What a model's weights are doing on this machine."""

    ABSENT = "absent"
    DOWNLOADING = "downloading"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class ModelState:
    """A model's weights on this machine, as any of its processes sees them.

    Attributes:
        phase: Interrupted: part of it is here and nobody is at it; the next replica goes on from there.
        bytes_done: Bytes that are on disk and need not be fetched again.
        bytes_total: Size of the model; 0 while it is not known.
        message: Why it failed, if it did.
    """

    phase: Phase
    bytes_done: int = 0
    bytes_total: int = 0
    message: str = ""

    def __str__(self) -> str:
        return f"{in_words(self.bytes_done)} of {in_words(self.bytes_total)}"


class Progress:
    """Counts bytes as they come and writes a line to the log now and then. Safe between threads."""

    def __init__(
        self,
        name: str,
        total_bytes: int,
        done_bytes: int,
        interval_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._total, self._interval_s, self._clock = name, total_bytes, interval_s, clock
        self._lock = threading.Lock()
        self._done, self._fetched = done_bytes, 0
        self._begun = self._logged = clock()

    def add(self, count: int) -> None:
        """So many bytes came."""
        with self._lock:
            self._done += count
            self._fetched += count
            now = self._clock()
            if now - self._logged < self._interval_s:
                return
            self._logged = now
        logger.info("Downloading %s: %s", self._name, self._line(now))

    def drop(self, count: int) -> None:
        """So many bytes are to be fetched again."""
        with self._lock:
            self._done -= count

    def finish(self) -> None:
        """Say in the log that it is complete."""
        elapsed_s = self._clock() - self._begun
        logger.info("Downloaded %s: %s fetched in %.1f s", self._name, in_words(self._fetched), elapsed_s)

    def _line(self, now: float) -> str:
        rate = self._fetched / max(now - self._begun, 1e-6)
        left_s = (self._total - self._done) / max(rate, 1)
        return (
            f"{in_words(self._done)} of {in_words(self._total)} ({self._done / max(self._total, 1):.0%}), "
            f"{in_words(rate)}/s, about {left_s:.0f} s left"
        )


def in_words(count: float) -> str:
    """A number of bytes for people, in binary units."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
