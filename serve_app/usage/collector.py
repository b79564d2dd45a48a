"""Usage of one ingress replica, added up until the registry has it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serve_app.store import UsageRow

if TYPE_CHECKING:
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


class UsageCollector:
    """Adds up requests. Belongs to one event loop.

    Args:
        clock: Seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
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
        return self._pending

    def acknowledge(self, flush: Flush) -> None:
        """The registry has it."""
        if flush is self._pending:
            self._pending = None
