"""The texts of an answer's choices, and how far each of them has been judged."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from serve_app.filtering import texts
from serve_app.filtering.texts import TextPath
from serve_app.filtering.windows import Window, WindowCutter


@dataclass(eq=False, slots=True)
class Choice:
    """One choice of an answer.

    Attributes:
        tracks: Its texts.
        last: Its latest frame.
        ended: It finished, or was blocked.
        filtered: It was blocked, by the classifier or before it.
        blocked: It was blocked by the classifier.
    """

    tracks: dict[TextPath, Track] = field(default_factory=dict)
    last: bytes = b""
    ended: bool = False
    filtered: bool = False
    blocked: bool = False


@dataclass(eq=False, slots=True)
class Track:
    """One text of a choice.

    Attributes:
        choice: Whose it is.
        path: Which of its texts.
        cutter: Cuts it into windows.
        waiting: Windows that are being judged, in order, and those after them.
        since: When the first of its characters arrived that belong to no window yet.
    """

    choice: Choice
    path: TextPath
    cutter: WindowCutter
    waiting: deque[Question] = field(default_factory=deque)
    since: float = 0.0

    @property
    def cleared(self) -> int:
        """Characters that may be shown. What says nothing need not be judged."""
        return self.waiting[0].window.speaks_at if self.waiting else self.cutter.speaks_at

    def settle(self) -> None:
        """Go on to the first window that has no judgement yet; those after it wait for it."""
        while self.waiting and self.waiting[0].answered:
            self.waiting.popleft()

    def ask(self, windows: list[Window]) -> list[Question]:
        """The questions about windows that are now complete."""
        questions = [Question(self, window) for window in windows]
        self.waiting.extend(questions)
        return questions


@dataclass(eq=False, slots=True)
class Question:
    """A window that is to be judged.

    Attributes:
        track: The text that it is of.
        window: What is to be judged.
        answered: Whether its judgement is known.
    """

    track: Track
    window: Window
    answered: bool = False

    @property
    def text(self) -> str:
        """What to read."""
        return texts.readable(self.window.text, self.track.path)
