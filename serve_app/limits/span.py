"""What counts at one moment: the last sixty seconds, the calendar day or month, or only what is in hand.

Time is the ledger's, in whole milliseconds since 1970. What is used is added up in *slots*, named for
the moment at which they begin: a second each for a window, the whole period for a day or a month.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from serve_app.limits.bucket import Kind

WINDOW_MS: Final = 60_000
SLOT_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Span:
    """What counts at one moment.

    Attributes:
        start_ms: Slots that begin earlier count no more.
        end_ms: When all that counts is forgotten at once; None: it leaves slot by slot.
        slot_ms: Length of a slot; 0: there is only one, or none.
        tail_ms: For so long after its end a lease counts about which the replica never said what it spent
            of it. Whatever was spent at its last moment has then left the window too.
    """

    start_ms: int
    end_ms: int | None
    slot_ms: int
    tail_ms: int

    @property
    def is_gauge(self) -> bool:
        """Whether nothing but leases counts."""
        return self.end_ms is None and self.tail_ms == 0

    def slot(self, at_ms: int) -> int | None:
        """The slot of what was counted at a moment; None: it counts no more."""
        slot = at_ms - at_ms % self.slot_ms if self.slot_ms else self.start_ms
        return slot if min(slot, at_ms) >= self.start_ms else None


def span(kind: Kind, now_ms: int, zone: ZoneInfo) -> Span:
    """What counts now."""
    if kind is Kind.WINDOW:
        # A slot leaves once its last moment is more than a window ago, so that no window of real time,
        # wherever it begins, holds more than the slots that count together.
        return Span(now_ms - WINDOW_MS - SLOT_MS + 1, None, SLOT_MS, WINDOW_MS)
    if kind is Kind.GAUGE:
        return Span(now_ms + 1, None, 0, 0)
    start_ms, end_ms = period(kind, now_ms, zone)
    return Span(start_ms, end_ms, 0, 0)


def period(kind: Kind, now_ms: int, zone: ZoneInfo) -> tuple[int, int]:
    """First moment of the calendar day or month, and of the next one."""
    start = datetime.fromtimestamp(now_ms / 1000, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    if kind is Kind.DAY:
        # The calendar's next midnight, which a change to summer time brings after 23 or 25 hours.
        end = start + timedelta(days=1)
    else:
        start = start.replace(day=1)
        end = (start + timedelta(days=32)).replace(day=1)
    return _ms(start), _ms(end)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
