"""Requests without a credential that holds: one record for each address and window, with a count.

A scanner would otherwise fill the disk with records that all say the same. The table is bounded:
addresses beyond it share one record. What a crash loses are the counts of the window it falls in.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Final

from serve_app.audit.config import UnauthorizedConfig
from serve_app.audit.record import AuditRecord

OTHERS: Final = "others"
"""In place of the address, where more addresses came than are told apart."""


@dataclass(slots=True)
class _Attempts:
    first: AuditRecord
    window: int
    count: int
    until: float


class Unauthorized:
    """The attempts that are not yet recorded. May be used by several threads.

    Args:
        config: How long, and how many addresses.
    """

    def __init__(self, config: UnauthorizedConfig) -> None:
        self._config = config
        self._attempts: dict[str, _Attempts] = {}
        self._ended: list[_Attempts] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._attempts)

    def note(self, record: AuditRecord) -> None:
        """Count one. Its timestamp decides its window; the first of a window gives the record its fields."""
        window = int(record.timestamp // self._config.window_s)
        with self._lock:
            known = record.client_address in self._attempts
            # One place is for the others, which come when all the rest is taken.
            if not known and len(self._attempts) >= self._config.max_addresses:
                record = replace(record, client_address=OTHERS, request_id="", alias="")
            attempts = self._attempts.get(record.client_address)
            if attempts is not None and attempts.window == window:
                attempts.count += 1
                attempts.until = max(attempts.until, record.timestamp)
                return
            if attempts is not None:
                self._end(attempts)
            self._attempts[record.client_address] = _Attempts(record, window, 1, record.timestamp)

    def due(self, now: float | None = None) -> list[AuditRecord]:
        """Take the records of the windows that are over.

        Args:
            now: Seconds since 1970; None: as if all were over.
        """
        window = None if now is None else int(now // self._config.window_s)
        with self._lock:
            for address, attempts in list(self._attempts.items()):
                if attempts.window != window:
                    del self._attempts[address]
                    self._end(attempts)
            ended, self._ended = self._ended, []
        return [
            replace(each.first, count=each.count, until=each.until if each.count > 1 else None)
            for each in ended
        ]

    def _end(self, attempts: _Attempts) -> None:
        """Set aside until ``due`` is called, which is far more often than windows end."""
        self._ended.append(attempts)
