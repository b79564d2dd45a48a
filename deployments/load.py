"""How busy the engine of a replica is, as the figures that Serve carries to whatever scales it.

Light to import: the replica writes these figures, Serve's controller reads them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

WAITING: Final = "waiting"
RUNNING: Final = "running"
QUEUED_PROMPT_TOKENS: Final = "queued_prompt_tokens"
KV_CACHE_USAGE: Final = "kv_cache_usage"
STEP_S: Final = "step_s"
REQUESTS_TOTAL: Final = "requests_total"

_NEWEST_WEIGHT = 0.05
"""Of a step in the average: about the last twenty steps count."""


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """What one engine has in hand, in vLLM's terms: an answer is one request, ``n`` answers are ``n``.

    Attributes:
        waiting: Requests that are not in the batch.
        running: Requests in the batch after the last step; an embedding or a score is over after one
            step, so it waits until it is done.
        queued_prompt_tokens: Prompt tokens of the requests, waiting or running, that have no token of
            their answer yet; whole prompts, also where a part is computed or cached.
        kv_cache_usage: Share of the KV cache in use, 0 to 1; None for a model without one.
        step_s: Moving average of the time from one step to the next while there was work, seconds; 0
            until there were two in a row.
        requests_total: Calls that the replica has ever taken.
    """

    waiting: int = 0
    running: int = 0
    queued_prompt_tokens: int = 0
    kv_cache_usage: float | None = None
    step_s: float = 0.0
    requests_total: int = 0

    def to_stats(self) -> dict[str, float]:
        """The figures by name, nothing but numbers: Serve gives up on a hook that returns anything else.

        What the engine does not have is left out.
        """
        stats: dict[str, float] = {
            WAITING: self.waiting,
            RUNNING: self.running,
            QUEUED_PROMPT_TOKENS: self.queued_prompt_tokens,
            STEP_S: self.step_s,
            REQUESTS_TOTAL: self.requests_total,
        }
        if self.kv_cache_usage is not None:
            stats[KV_CACHE_USAGE] = self.kv_cache_usage
        return stats

    @classmethod
    def from_stats(cls, stats: Mapping[str, float]) -> EngineLoad:
        """The load that ``to_stats`` wrote; means over a window are rounded where they count something.

        Args:
            stats: The figures by name; others are ignored.

        Raises:
            KeyError: A figure is missing that every engine has: the replica has not reported yet.
        """
        return cls(
            waiting=round(stats[WAITING]),
            running=round(stats[RUNNING]),
            queued_prompt_tokens=round(stats[QUEUED_PROMPT_TOKENS]),
            kv_cache_usage=stats.get(KV_CACHE_USAGE),
            step_s=stats[STEP_S],
            requests_total=round(stats[REQUESTS_TOTAL]),
        )


class StepClock:
    """Moving average of the time from one step of an engine to the next while it has work.

    Args:
        clock: Monotonic, seconds.
    """

    __slots__ = ("_begun", "_clock", "average_s")

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.average_s = 0.0
        self._clock = clock
        self._begun: float | None = None

    def stepped(self, more: bool) -> None:
        """A step is over.

        Args:
            more: Whether the next one begins at once; after an idle time nobody knows when one began.
        """
        now = self._clock()
        if self._begun is not None:
            took = now - self._begun
            self.average_s += (took - self.average_s) * _NEWEST_WEIGHT if self.average_s else took
        self._begun = now if more else None
