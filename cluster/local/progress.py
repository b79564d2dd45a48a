"""Progress on a terminal, or in a log where nobody watches."""

from __future__ import annotations

import sys
import time
from typing import TextIO

_LOG_EVERY_S = 15.0
_CLEAR_LINE = "\r\x1b[K"


class Progress:
    """Says what is going on and since when: one line that changes, or in a log a line now and then.

    Args:
        stream: Where to.
    """

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._begun = time.monotonic()
        self._shown = ""
        self._shown_at = 0.0

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._begun

    def now(self, what: str) -> None:
        """What is going on at this moment; may be called often."""
        moment = time.monotonic()
        if self._terminal:
            self._write(f"{_CLEAR_LINE}{self.elapsed_s:4.0f} s  {what}")
        elif what != self._shown or moment - self._shown_at >= _LOG_EVERY_S:
            self._write(f"{self.elapsed_s:4.0f} s  {what}\n")
            self._shown, self._shown_at = what, moment

    def say(self, text: str) -> None:
        """Text that stays."""
        self._write(f"{_CLEAR_LINE if self._terminal else ''}{text}\n")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
