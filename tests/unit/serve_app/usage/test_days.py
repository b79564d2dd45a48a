"""Days of a place."""

from __future__ import annotations

from datetime import date

import pytest

from serve_app.usage import days


@pytest.mark.parametrize(
    ("text", "seconds"), [("Z", 0), ("z", 0), ("+08:00", 28_800), ("-03:00", -10_800), ("+14:00", 50_400)]
)
def test_offset_is_read(text: str, seconds: int) -> None:
    assert days.offset_s(text) == seconds


@pytest.mark.parametrize("text", ["", "8", "+8:00", " 08:00", "+05:30", "+15:00", "UTC"])
def test_offset_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="whole hours"):
        days.offset_s(text)


@pytest.mark.parametrize("text", ["2026-02-29", "20261101", "2026-W44-1", "1700000000", ""])
def test_day_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="2026-11-01"):
        days.day(text)


@pytest.mark.parametrize("offset_s", [0, 28_800, -28_800])
@pytest.mark.parametrize("text", ["2026-11-01", "1969-12-31", "0001-01-02", "9999-12-30"])
def test_day_begins_and_is_named_the_same(text: str, offset_s: int) -> None:
    begin_s = days.begin_s(days.day(text), offset_s)
    assert days.name(begin_s, offset_s) == text
    assert begin_s + offset_s == (date.fromisoformat(text) - date(1970, 1, 1)).days * 86_400
