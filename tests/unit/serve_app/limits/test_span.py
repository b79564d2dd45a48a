"""What counts at a moment."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from serve_app.limits.bucket import Kind
from serve_app.limits.span import SLOT_MS, WINDOW_MS, period, span

UTC = ZoneInfo("UTC")


def _ms(text: str, zone: str = "UTC") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize("at_ms", [1_000_000_000_000, 1_000_000_000_001, 1_000_000_000_999])
def test_what_was_counted_leaves_the_window_only_after_a_whole_minute(at_ms: int) -> None:
    slot = span(Kind.WINDOW, at_ms, UTC).slot(at_ms)
    assert slot is not None
    assert slot >= span(Kind.WINDOW, at_ms + WINDOW_MS, UTC).start_ms
    assert slot < span(Kind.WINDOW, at_ms + WINDOW_MS + SLOT_MS, UTC).start_ms


@pytest.mark.parametrize(
    ("kind", "now", "zone", "start", "end"),
    [
        (Kind.DAY, "2026-11-23T23:59:59.999", "UTC", "2026-11-23", "2026-11-24"),
        (Kind.DAY, "2026-11-24T00:00:00", "UTC", "2026-11-24", "2026-11-25"),
        (Kind.DAY, "2026-11-24T07:59:59", "Asia/Shanghai", "2026-11-24", "2026-11-25"),
        (Kind.MONTH, "2026-12-31T23:59:59", "UTC", "2026-12-01", "2027-01-01"),
        (Kind.MONTH, "2028-02-29T12:00:00", "Asia/Shanghai", "2028-02-01", "2028-03-01"),
        (Kind.DAY, "2026-03-29T12:00:00", "Europe/Berlin", "2026-03-29", "2026-03-30"),
        (Kind.DAY, "2026-10-25T12:00:00", "Europe/Berlin", "2026-10-25", "2026-10-26"),
    ],
)
def test_period_begins_and_ends_at_local_midnight(
    kind: Kind, now: str, zone: str, start: str, end: str
) -> None:
    assert period(kind, _ms(now, zone), ZoneInfo(zone)) == (_ms(start, zone), _ms(end, zone))


def test_day_with_a_change_of_the_clock_is_an_hour_shorter_or_longer() -> None:
    start, end = period(Kind.DAY, _ms("2026-03-29T12:00:00", "Europe/Berlin"), ZoneInfo("Europe/Berlin"))
    assert end - start == 23 * 3_600_000
    start, end = period(Kind.DAY, _ms("2026-10-25T12:00:00", "Europe/Berlin"), ZoneInfo("Europe/Berlin"))
    assert end - start == 25 * 3_600_000


def test_what_belongs_to_an_earlier_day_counts_no_more() -> None:
    today = span(Kind.DAY, _ms("2026-11-24T00:00:01"), UTC)
    assert today.slot(_ms("2026-11-23T23:59:59")) is None
    assert today.slot(_ms("2026-11-24T00:00:00")) == _ms("2026-11-24")


def test_nothing_but_leases_counts_in_a_gauge() -> None:
    now_ms = _ms("2026-11-24T00:00:01")
    assert span(Kind.GAUGE, now_ms, UTC).slot(now_ms) is None
