"""The part of a stream that is held until it has been judged: what may go out, in which order, and when.

Nothing here waits or asks: ``serve_app.filtering.hold`` does, and tells the time.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deployments.call import StreamItem
from serve_app.errors import FilterSilent
from serve_app.filtering import event, texts
from serve_app.filtering.classifier import Judgement, Reached
from serve_app.filtering.track import Choice, Question, Track
from serve_app.filtering.verdict import Action, Scanned, Tally
from serve_app.filtering.windows import WindowCutter


@dataclass(eq=False, slots=True)
class _Frame:
    """What arrived, in the order of its arrival.

    Attributes:
        item: It itself.
        until: When its time is up.
        choice: Whose it is; None: of the whole answer.
        needs: How far which texts must be cleared.
    """

    item: StreamItem
    until: float
    choice: Choice | None = None
    needs: tuple[tuple[Track, int], ...] = ()

    @property
    def is_free(self) -> bool:
        return all(track.cleared >= end for track, end in self.needs)


class HeldStream:
    """Holds the frames of one answer.

    Args:
        window_chars: Length of a window at most.
        hold_s: How long a frame is held at most, seconds.
        choices: How many choices the answer has.
        fails_closed: Nothing goes out that was not judged.

    Attributes:
        found: Windows by category and what was done about them.
    """

    def __init__(self, *, window_chars: int, hold_s: float, choices: int, fails_closed: bool) -> None:
        self._window_chars = window_chars
        self._hold_s = hold_s
        self._expected = choices
        self._fails_closed = fails_closed
        self._choices: dict[int, Choice] = {}
        self._frames: deque[_Frame] = deque()
        self._failed = False
        self._missed: set[Reached] = set()
        self._scanned = False
        self._rest = b""
        self.found: Tally = Counter()

    @property
    def stopped(self) -> bool:
        """Whether no choice goes on because the last were blocked: the engine may stop."""
        over = [choice for choice in self._choices.values() if choice.ended]
        return len(over) >= self._expected and any(choice.filtered for choice in over)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held."""
        return not self._frames

    @property
    def moves(self) -> bool:
        """Whether something may go out, or it is known that nothing more will."""
        return bool(self._frames) and (self._failed or self._frames[0].is_free)

    @property
    def expiry(self) -> float | None:
        """When the time of the first frame is up; None: nothing is held."""
        return self._frames[0].until if self._frames else None

    @property
    def due(self) -> float | None:
        """When a text has waited for its window to become complete for long enough; None: none waits."""
        return min((self._due(track) for track in self._tracks() if track.cutter.waits), default=None)

    @property
    def scanned(self) -> Scanned:
        """How much of what was said was judged before it went out."""
        if not self._missed:
            return Scanned.ALL
        return Scanned.PART if self._scanned else Scanned.NOTHING

    @property
    def unscanned(self) -> list[str]:
        """Why the rest was not."""
        return [why.unscanned for why in self._missed]

    def take(self, item: StreamItem, now: float) -> list[Question]:
        """Take what arrives; returns the windows that it completes."""
        if not isinstance(item, bytes):
            self._frames.append(_Frame(item, now))
            return []
        *frames, self._rest = (self._rest + item).split(event.END)
        return [question for frame in frames for question in self._take_frame(frame + event.END, now)]

    def close_due(self, now: float) -> list[Question]:
        """Complete the windows of texts that have waited for half of the hold."""
        return [
            question
            for track in self._tracks()
            if track.cutter.waits and self._due(track) <= now
            for question in track.ask(track.cutter.flush())
        ]

    def close(self) -> list[Question]:
        """The stream is over: complete all windows. What came of a frame that is not whole is dropped."""
        return [question for track in self._tracks() for question in track.ask(track.cutter.flush())]

    def settle(self, question: Question, judgement: Judgement) -> None:
        """Take the judgement of a window."""
        choice = question.track.choice
        self._scanned |= judgement.missed is None
        if choice.blocked:
            return
        if judgement.blocks and not self._is_out(choice):
            self.found += judgement.found
            self._block(choice)
            return
        # Nothing is left to block where all of the choice went out before.
        mildly = Counter({(category, Action.FLAG): n for (category, _), n in judgement.found.items()})
        self.found += mildly if judgement.blocks else judgement.found
        if judgement.missed is not None:
            self._missed.add(judgement.missed)
            if self._fails_closed:
                self._failed = True
                return
        question.answered = True
        question.track.settle()

    def release(self, now: float) -> Iterator[StreamItem]:
        """What may go out now.

        Raises:
            FilterSilent: The next frame was not judged, and nothing goes out without.
        """
        while self._frames:
            frame = self._frames[0]
            if not frame.is_free:
                if self._failed:
                    raise FilterSilent
                if now < frame.until:
                    return
                self._missed.add(Reached.LATE)
                if self._fails_closed:
                    raise FilterSilent
            self._frames.popleft()
            yield frame.item

    def _due(self, track: Track) -> float:
        return track.since + self._hold_s / 2

    def _tracks(self) -> Iterator[Track]:
        for choice in self._choices.values():
            if not choice.blocked:
                yield from choice.tracks.values()

    def _take_frame(self, frame: bytes, now: float) -> list[Question]:
        whole = event.read(frame)
        choices = whole.get("choices")
        if not choices:
            self._frames.append(_Frame(frame, now))
            return []
        if len(choices) == 1:
            return self._take_choice(frame, choices[0], now)
        # One frame for each, since one may be blocked and another not.
        parts = [(event.write({**whole, "choices": [choice]}), choice) for choice in choices]
        return [question for part, choice in parts for question in self._take_choice(part, choice, now)]

    def _take_choice(self, frame: bytes, said: dict[str, Any], now: float) -> list[Question]:
        choice = self._choices.setdefault(said.get("index", 0), Choice())
        if choice.ended:
            return []
        choice.last = frame
        questions: list[Question] = []
        needs: list[tuple[Track, int]] = []
        for path, text in texts.of_choice(event.said(said)):
            track = choice.tracks.get(path)
            if track is None:
                track = choice.tracks[path] = Track(choice, path, WindowCutter(self._window_chars))
            waited = track.cutter.waits
            asked = track.ask(track.cutter.feed(text))
            if asked or not waited:
                track.since = now
            questions += asked
            needs.append((track, track.cutter.taken))
        if said.get("finish_reason") is not None:
            choice.ended = True
            choice.filtered = said["finish_reason"] == event.CONTENT_FILTER
            for track in choice.tracks.values():
                questions += track.ask(track.cutter.flush())
        self._frames.append(_Frame(frame, now + self._hold_s, choice, tuple(needs)))
        return questions

    def _is_out(self, choice: Choice) -> bool:
        return choice.ended and not any(frame.choice is choice for frame in self._frames)

    def _block(self, choice: Choice) -> None:
        """End a choice where its first frame is held; what is held of it is not shown."""
        choice.blocked = choice.filtered = choice.ended = True
        whole = event.read(choice.last)
        last = _Frame(event.write({**whole, "choices": [event.blocked(whole["choices"][0])]}), 0.0)
        first = next((place for place, one in enumerate(self._frames) if one.choice is choice), None)
        if first is None:
            self._frames.append(last)
        else:
            self._frames[first] = last
            self._frames = deque(frame for frame in self._frames if frame.choice is not choice)
