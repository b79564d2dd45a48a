"""The latest reasons of the fleet policy, for whoever asks why."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from deployments.fleet.decision import Reason


@dataclass(slots=True)
class Entry:
    """A reason, and until when it was given again.

    Attributes:
        reason: As it was first given.
        last_at: When it was last given.
        times: How often.
    """

    reason: Reason
    last_at: float
    times: int = 1


_REPEATED_WITHIN_S = 30.0
"""The same words after a longer silence are news again."""


class Journal:
    """A ring buffer. A reason that is only repeated, second by second, takes one place.

    Args:
        entries: Entries kept; the oldest goes first.
    """

    def __init__(self, entries: int) -> None:
        self._entries: deque[Entry] = deque(maxlen=entries)
        self._latest: dict[str, Entry] = {}

    def record(self, reasons: Iterable[Reason]) -> list[Reason]:
        """Keep them.

        Returns:
            Those that are news: worth a line in the log.
        """
        news = []
        for reason in reasons:
            latest = self._latest.get(reason.model)
            if latest and _is_repeated(latest, reason):
                latest.last_at = reason.at
                latest.times += 1
                continue
            entry = Entry(reason, reason.at)
            self._entries.append(entry)
            self._latest[reason.model] = entry
            news.append(reason)
        return news

    def entries(self, model: str | None = None) -> list[Entry]:
        """What is kept, oldest first; of one model or of all."""
        return [entry for entry in self._entries if model in (None, entry.reason.model)]


def _is_repeated(latest: Entry, reason: Reason) -> bool:
    same = (latest.reason.action, latest.reason.words) == (reason.action, reason.words)
    return same and reason.at - latest.last_at <= _REPEATED_WITHIN_S
