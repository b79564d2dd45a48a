"""Events in virtual time."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count


class Timeline:
    """What is to happen, by time; at the same time, in the order in which it was put down."""

    def __init__(self) -> None:
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = count()

    @property
    def next_at(self) -> float:
        """When the next event is; infinity: none."""
        return self._events[0][0] if self._events else float("inf")

    def put(self, at: float, act: Callable[[float], None]) -> None:
        """Let something happen, which is told the time."""
        heapq.heappush(self._events, (at, next(self._numbers), act))

    def step(self) -> None:
        """Let the next event happen."""
        at, _, act = heapq.heappop(self._events)
        act(at)
