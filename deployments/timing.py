"""Where the time of a call goes inside its replica."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Timing:
    """Time of one call in its engine, seconds.

    Attributes:
        first_token_s: From its place in the engine's batch to the first token.
        engine_s: From its place in the engine's batch to the last token.
        queue_s: Waiting for that place; None where the engine does not tell it apart, as with several
            answers to one prompt and with pooling models: then it is part of the other two.
        arrived_at: When the call was at its replica, by that machine's clock, seconds since 1970.
    """

    first_token_s: float
    engine_s: float
    queue_s: float | None = None
    arrived_at: float = field(default=0.0, compare=False)

    @property
    def before_first_token_s(self) -> float:
        """What the engine took of the time to the first token."""
        return (self.queue_s or 0) + self.first_token_s

    @property
    def total_s(self) -> float:
        """What the engine took of the latency."""
        return (self.queue_s or 0) + self.engine_s


class Stopwatch:
    """Times one call at its replica, for where the engine itself says nothing.

    Args:
        clock: Monotonic, seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._arrived_at = time.time()
        self._first: float | None = None

    def mark_token(self) -> None:
        """A token is here; all but the first count for nothing."""
        if self._first is None:
            self._first = self._clock()

    def timing(self, engine: Mapping[str, float | None] | None) -> Timing:
        """The call's timing at its end.

        Args:
            engine: vLLM's metrics of the request, milliseconds; they know what waited in its queue.
        """
        ended = self._clock()
        told = engine or {}
        first, generation = told.get("time_to_first_token_ms"), told.get("generation_time_ms")
        if first is None or generation is None:
            first_s, engine_s = (self._first or ended) - self._started, ended - self._started
            return Timing(first_s, engine_s, arrived_at=self._arrived_at)
        queue = told.get("queue_time_ms")
        queue_s = None if queue is None else queue / 1e3
        return Timing(first / 1e3, (first + generation) / 1e3, queue_s, self._arrived_at)
