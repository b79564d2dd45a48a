"""A text cut into windows: a sentence each, after what was said just before it.

A window repeats the sentence before its own, so that a meaning that lies over the border is seen, and
more of them where they are short: a text cut into sentences of one word is still read as a text.
"""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from dataclasses import dataclass
from typing import Final

_END: Final = re.compile(r"[。｡．！？!?…\n\u2028\u2029]|\.(?=\s)")
_SILENT: Final = frozenset("PZC")
"""Unicode's punctuation, separators and control characters."""

LEAST_CONTEXT_CHARS: Final = 24


@dataclass(frozen=True, slots=True)
class Window:
    """A piece of a text, to be judged.

    Attributes:
        begin: Of what is new in it, characters from the text's beginning.
        end: Of what is new in it, and of the window.
        text: What to read: what is repeated, then what is new.
        speaks_at: Where what is new begins to say something.
    """

    begin: int
    end: int
    text: str
    speaks_at: int


class WindowCutter:
    """Cuts one text that comes in pieces; without ``flush``, where it is cut does not depend on the pieces.

    Args:
        window_chars: Length of a window at most; half of it may be new, half of it repeated.

    Attributes:
        begin: Of what belongs to no window yet, characters from the text's beginning.
        rest: That itself.
    """

    def __init__(self, window_chars: int) -> None:
        self._half = window_chars // 2
        self._recent: deque[str] = deque(maxlen=LEAST_CONTEXT_CHARS)
        self._searched = 0
        self.begin = 0
        self.rest = ""

    @property
    def taken(self) -> int:
        """Characters that came."""
        return self.begin + len(self.rest)

    @property
    def waits(self) -> bool:
        """Whether something was said that belongs to no window yet."""
        return self.speaks_at < self.taken

    @property
    def speaks_at(self) -> int:
        """Where what belongs to no window yet begins to say something, or will."""
        return self.begin + _silence(self.rest)

    def feed(self, text: str) -> list[Window]:
        """Take the next piece; returns the windows that it completes."""
        self.rest += text
        windows = []
        while (length := self._sentence()) is not None:
            windows.append(self._cut(length))
        return windows

    def flush(self) -> list[Window]:
        """Complete a window with what there is, if it says anything."""
        return [self._cut(len(self.rest))] if self.waits else []

    def _sentence(self) -> int | None:
        """The length of the first sentence, if it is known where it ends."""
        # Whether a dot ends a sentence, the next character tells.
        for found in _END.finditer(self.rest, max(self._searched - 1, 0)):
            if found.end() > self._half:
                break
            if _silence(self.rest) < found.end():
                return found.end()
        self._searched = len(self.rest)
        return self._half if len(self.rest) > self._half else None

    def _cut(self, length: int) -> Window:
        speaks_at = self.speaks_at
        new, self.rest = self.rest[:length], self.rest[length:]
        window = Window(self.begin, self.begin + length, self._context() + new, speaks_at)
        self._recent.append(new)
        self._searched = 0
        self.begin += length
        return window

    def _context(self) -> str:
        context = ""
        for sentence in reversed(self._recent):
            if len(context) >= LEAST_CONTEXT_CHARS:
                break
            context = (sentence + context)[-self._half :]
        return context


def cut(text: str, window_chars: int) -> list[str]:
    """The windows of a whole text."""
    cutter = WindowCutter(window_chars)
    return [window.text for window in (*cutter.feed(text), *cutter.flush())]


def _silence(text: str) -> int:
    """The length of a text's beginning that is only punctuation and white space."""
    for place, char in enumerate(text):
        if unicodedata.category(char)[0] not in _SILENT:
            return place
    return len(text)
