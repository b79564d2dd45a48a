"""Progress: a line every few seconds with the model's name and the time that it has taken."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

__all__ = ["Progress"]


class Progress:
    """Says what a model's making is at, with the seconds since it began.

    Whole lines, because models are made side by side and share a terminal.
    """

    def __init__(
        self,
        name: str,
        stream: TextIO = sys.stderr,
        clock: Callable[[], float] = time.monotonic,
        interval_s: float = 5.0,
    ) -> None:
        self._name = name
        self._stream = stream
        self._clock = clock
        self._interval_s = interval_s
        self._start = clock()
        self._last = -interval_s

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self._start

    def step(self, step: int, steps: int, loss: float) -> None:
        """Report a training step, counted from one; shown when the interval is over."""
        if self.elapsed_s - self._last >= self._interval_s:
            self._last = self.elapsed_s
            self.say(f"step {step}/{steps}, loss {loss:.4f}")

    def say(self, text: str) -> None:
        """Report something that is always shown."""
        self._stream.write(f"{self._name:<15} {self.elapsed_s:6.1f} s  {text}\n")
        self._stream.flush()
