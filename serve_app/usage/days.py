"""Calendar days of a place whose clocks differ from UTC by whole hours, since usage is kept by the hour."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

_OFFSET: Final = re.compile(r"([+-])(0\d|1[0-4]):00")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_EPOCH: Final = date(1970, 1, 1)


def offset_s(text: str) -> int:
    """Seconds that clocks are ahead of UTC, of ``Z`` or ``+08:00``.

    Raises:
        ValueError: Not of that form, or not whole hours.
    """
    if text.upper() == "Z":
        return 0
    match = _OFFSET.fullmatch(text)
    if match is None:
        raise ValueError("write Z, or whole hours such as +08:00 (in a URL %2B08:00)")
    return int(match[1] + match[2]) * 3600


def day(text: str) -> date:
    """The day of a text such as ``2026-11-01``.

    Raises:
        ValueError: Not of that form, or there is no such day.
    """
    if _DAY.fullmatch(text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            pass
    raise ValueError("write a day such as 2026-11-01")


def begin_s(day: date, utc_offset_s: int) -> int:
    """When a day begins, seconds since 1970."""
    return (day - _EPOCH).days * 86_400 - utc_offset_s


def name(begins_s: int, utc_offset_s: int) -> str:
    """The day that begins at a moment, seconds since 1970."""
    return (datetime.fromtimestamp(begins_s, UTC) + timedelta(seconds=utc_offset_s)).date().isoformat()
