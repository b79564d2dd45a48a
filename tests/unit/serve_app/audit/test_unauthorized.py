"""A scanner leaves a record a minute."""

from __future__ import annotations

from dataclasses import replace

from serve_app.audit.config import UnauthorizedConfig
from serve_app.audit.record import Outcome
from serve_app.audit.unauthorized import OTHERS, Unauthorized
from tests.unit.serve_app.audit.conftest import NOON, RECORD

REFUSED = replace(RECORD, outcome=Outcome.UNAUTHORIZED, user_id="", model="")


def test_requests_of_one_address_and_window_are_one_record() -> None:
    table = Unauthorized(UnauthorizedConfig())
    for second in range(100):
        table.note(replace(REFUSED, timestamp=NOON + second))
    told = [(r.timestamp - NOON, r.count, r.until) for r in table.due(NOON + 100)]
    assert told == [(0, 60, NOON + 59)]
    assert [(r.timestamp - NOON, r.count) for r in table.due()] == [(60, 40)]
    assert table.due() == []


def test_single_request_is_a_record_like_any_other() -> None:
    table = Unauthorized(UnauthorizedConfig())
    table.note(REFUSED)
    assert table.due(NOON + 60) == [REFUSED]


def test_addresses_are_told_apart() -> None:
    table = Unauthorized(UnauthorizedConfig())
    for address in ("10.0.0.1", "10.0.0.2", "10.0.0.1"):
        table.note(replace(REFUSED, client_address=address))
    assert {r.client_address: r.count for r in table.due()} == {"10.0.0.1": 2, "10.0.0.2": 1}


def test_table_is_bounded_and_still_counts_everything() -> None:
    table = Unauthorized(UnauthorizedConfig(max_addresses=10))
    for number in range(100_000):
        table.note(replace(REFUSED, client_address=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"))
    assert len(table) == 11
    told = {record.client_address: record for record in table.due()}
    assert sum(record.count for record in told.values()) == 100_000
    assert told[OTHERS].count == 100_000 - 10
    assert told[OTHERS].request_id == ""
