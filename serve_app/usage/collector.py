"""Usage of one ingress replica, added up until the registry has it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from serve_app.store import UsageRow
from serve_app.store.usage import FLUSH_MEMORY_S

if TYPE_CHECKING:
    from serve_app.audit.replay import Unsettled
    from serve_app.observation import Observation

_HOUR_S = 3600

_Key = tuple[int, str, str, str, str, str]


@dataclass(frozen=True, slots=True)
class Flush:
    """Rows on their way to the registry.

    Attributes:
        id: The same however often they are sent.
        rows: One for each hour, caller, key, model and task.
    """

    id: str
    rows: tuple[UsageRow, ...]


class Journal(Protocol):
    """What outlives the replica, and holds each request that is counted."""

    def mark_usage(self, flush_id: str) -> None:
        """Note that the requests since the last mark are in the flush of this id."""

    async def is_safe(self) -> bool:
        """Wait until all that was noted is there after a crash; whether it is."""


class UsageCollector:
    """Adds up requests. Belongs to one event loop.

    Args:
        clock: Seconds since 1970.
        journal: Out of it the usage of a replica that has died is made again; None: it is lost.
    """

    def __init__(self, clock: Callable[[], float] = time.time, journal: Journal | None = None) -> None:
        self._clock = clock
        self._journal = journal
        self._counts: dict[_Key, list[int]] = {}
        self._pending: Flush | None = None

    def add(  # noqa: PLR0913, PLR0917  (what a row is told apart by)
        self,
        tenant: str,
        subject: str,
        key_id: str,
        model: str,
        task: str,
        prompt_tokens: int,
        completion_tokens: int,
    ) -> None:
        """Count one request."""
        hour = int(self._clock()) // _HOUR_S * _HOUR_S
        counts = self._counts.setdefault((hour, tenant, subject, key_id, model, task), [0, 0, 0])
        counts[0] += 1
        counts[1] += prompt_tokens
        counts[2] += completion_tokens

    def record(self, seen: Observation) -> None:
        """Count a request that has ended, if a model had a part in it."""
        if seen.principal is None or not (seen.usage.prompt_tokens or seen.usage.completion_tokens):
            return
        caller, used = seen.principal, seen.usage
        key_id = caller.key_id or ""
        self.add(
            caller.tenant,
            caller.subject,
            key_id,
            seen.model,
            seen.task,
            used.prompt_tokens,
            used.completion_tokens,
        )

    def pending(self) -> Flush:
        """What is to be sent: the same again until it is acknowledged, and then what came since."""
        if self._pending is None or not self._pending.rows:
            rows = tuple(UsageRow(*key, *counts) for key, counts in self._counts.items())
            self._pending = Flush(uuid.uuid4().hex, rows)
            self._counts = {}
            if rows and self._journal is not None:
                self._journal.mark_usage(self._pending.id)
        return self._pending

    async def may_send(self, flush: Flush) -> bool:
        """Whether a crash from now on leaves no doubt about what is in the flush."""
        return self._journal is None or not flush.rows or await self._journal.is_safe()

    def resume(self, left: Unsettled) -> None:
        """Go on where a replica before this one stopped; before the first request."""
        for row in left.rest:
            key = (row.hour, row.tenant, row.subject, row.key_id, row.model, row.task)
            self._counts[key] = [row.requests, row.prompt_tokens, row.completion_tokens]
        # The table, which may have the flush, would count it twice if it had forgotten its id.
        if left.flush and self._clock() - left.flushed_at < FLUSH_MEMORY_S / 2:
            self._pending = Flush(left.flush_id, left.flush)

    def acknowledge(self, flush: Flush) -> None:
        """The registry has it."""
        if flush is self._pending:
            self._pending = None
