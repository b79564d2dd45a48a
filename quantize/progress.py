"""Progress: whole lines with the time that has gone and the time that is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO


class Progress:
    """Says what the work is at.

    Args:
        stream: Where lines go.
        clock: Seconds.
    """

    def __init__(self, stream: TextIO = sys.stderr, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._start = clock()
        self._blocks_began: float | None = None
        self._done = 0

    @property
    def elapsed_s(self) -> float:
        """Since the beginning."""
        return self._clock() - self._start

    def say(self, text: str) -> None:
        """A line."""
        self._stream.write(f"{_clocked(self.elapsed_s):>8}  {text}\n")
        self._stream.flush()

    def begin_blocks(self) -> None:
        """From now on blocks are counted."""
        self._blocks_began = self._clock()

    def block_done(self, number: int, blocks: int, text: str) -> None:
        """A block is finished, the ``number``-th of ``blocks``; the rest is expected to take as long each."""
        assert self._blocks_began is not None
        self._done += 1
        left = (self._clock() - self._blocks_began) / self._done * (blocks - number)
        rest = f", about {_clocked(left)} left" if number < blocks else ""
        self.say(f"block {number} of {blocks}: {text}{rest}")


def _clocked(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
