"""What one replica holds of one bucket."""

from __future__ import annotations

from typing import Any

from serve_app.limits.bucket import LimitName
from serve_app.limits.lease import Lease
from serve_app.limits.ledger import Grant
from tests.unit.serve_app.limits.ledgers import bucket


def _grant(amount: int, **values: Any) -> Grant:
    told: dict[str, Any] = {
        "valid_ms": 10_000,
        "counted_ms": 1,
        "remaining": 500,
        "reset_ms": 60_000,
        "refused": 0,
        "retry_ms": 0,
        "scarce": False,
    }
    return Grant(amount=amount, **(told | values))


def _lease(amount: int = 100, limit: LimitName = LimitName.TOKENS_PER_MINUTE, **values: Any) -> Lease:
    """A lease of so much, granted at 0."""
    lease = Lease(bucket(limit), 1000)
    lease.ask(0)
    lease.receive(_grant(amount, **values), 0, 0, 0.5)
    return lease


def test_lease_ends_here_before_it_ends_at_the_ledger() -> None:
    lease = _lease()
    assert lease.has(100, 9.79)
    assert not lease.has(100, 9.81)


def test_time_of_a_lease_runs_from_the_question_and_not_from_the_answer() -> None:
    lease = Lease(bucket(), 1000)
    lease.ask(0)
    lease.receive(_grant(100), 0, 8, 0.5)
    assert not lease.has(1, 9.81)


def test_what_comes_back_before_it_was_reported_can_be_spent_again_at_once() -> None:
    lease = _lease()
    report = lease.take(100)
    lease.give(60, report)
    assert lease.has(60, 1)
    assert lease.ask(1).spent == 40


def test_what_comes_back_after_it_was_reported_goes_back_to_the_ledger_by_its_report() -> None:
    lease = _lease()
    report = lease.take(100)
    lease.ask(1)
    lease.give(60, report)
    assert not lease.due(1, 5)  # Not before the ledger has said when it counted that report.
    lease.receive(_grant(0, counted_ms=77), 1, 1, 0.5)
    assert not lease.has(1, 1)
    assert lease.due(1, 5)
    assert lease.ask(2).refunds == ((77, 60),)
    lease.receive(_grant(0), 2, 2, 0.5)
    assert lease.ask(3).refunds == ()


def test_what_is_spent_while_a_question_is_under_way_is_taken_off_its_answer() -> None:
    lease = _lease()
    lease.take(10)
    ask = lease.ask(1)
    assert (ask.spent, ask.keep) == (10, 90)
    lease.take(30)
    lease.receive(_grant(90), 1, 1, 0.5)
    assert lease.has(60, 1)
    assert not lease.has(61, 1)
    assert lease.ask(2).spent == 30


def test_scarce_lease_keeps_nothing_idle() -> None:
    lease = _lease(scarce=True)
    lease.take(10)
    ask = lease.ask(1)
    assert (ask.spent, ask.keep) == (10, 0)
    assert not lease.has(1, 1)


def test_lease_that_is_used_asks_for_more_than_it_needs() -> None:
    lease = _lease()
    lease.take(90)
    lease.tick()
    assert lease.ask(1).want == 2 * 90 - 10


def test_refusal_is_believed_for_one_interval_at_most() -> None:
    lease = _lease(0, refused=300, retry_ms=40_000)
    assert lease.refuses(300, 0.4)
    assert not lease.refuses(299, 0.4)
    assert not lease.refuses(300, 0.6)
    assert lease.retry_at_s == 40


def test_requests_in_hand_are_told_as_they_are() -> None:
    lease = _lease(3, LimitName.CONCURRENT_REQUESTS)
    report = lease.take(1)
    lease.take(1)
    ask = lease.ask(1)
    assert (ask.spent, ask.in_use, ask.keep) == (0, 2, 3)
    lease.give(1, report)
    lease.receive(_grant(3), 1, 1, 0.5)
    assert lease.has(2, 1)
    assert not lease.has(3, 1)


def test_lease_is_of_no_more_use_only_when_all_requests_have_settled() -> None:
    lease = _lease()
    report = lease.take(100)
    lease.ask(1)
    lease.receive(_grant(0), 1, 1, 0.5)
    assert not lease.idle
    lease.give(50, report)
    lease.reservations -= 1
    assert not lease.idle
    lease.ask(2)
    lease.receive(_grant(0), 2, 2, 0.5)
    assert lease.idle
