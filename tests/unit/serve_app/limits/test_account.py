"""The arithmetic of one bucket, where the contract of ledgers does not reach."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from serve_app.limits.account import FORGET_AFTER_MS, Account
from serve_app.limits.bucket import Kind, LimitName
from serve_app.limits.ledger import Ask, Batch, Grant
from serve_app.limits.span import span

NOW_MS = 1_795_478_100_000
UTC = ZoneInfo("UTC")


def _tell(
    account: Account, now_ms: int, replica: str = "a", seq: int = 1, limit: int = 1000, **said: object
) -> Grant:
    ask = Ask("b", LimitName.TOKENS_PER_MINUTE, limit, **said)  # type: ignore[arg-type]
    return account.apply(ask, Batch(replica, seq, 10_000, (ask,)), span(Kind.WINDOW, now_ms, UTC), now_ms)


def test_account_is_the_same_after_it_was_written_down() -> None:
    account = Account()
    _tell(account, NOW_MS, needs=(100,), want=50)
    _tell(account, NOW_MS + 10, seq=2, spent=70, keep=80, needs=(2000,))
    assert Account.from_json(account.to_json(), NOW_MS + 20) == account


def test_state_of_a_clock_that_was_ahead_frees_itself() -> None:
    year_ms = 365 * 86_400_000
    account = Account()
    _tell(account, NOW_MS + year_ms, needs=(600,))
    _tell(account, NOW_MS + year_ms, seq=2, spent=300, keep=300)
    again = Account.from_json(account.to_json(), NOW_MS)
    assert _tell(again, NOW_MS, "b", needs=(500,)).refused == 500
    assert _tell(again, NOW_MS + 362_000, "b", seq=2, needs=(1000,)).amount == 1000


def test_account_in_which_nothing_counts_is_empty_again() -> None:
    account = Account()
    _tell(account, NOW_MS, needs=(600,))
    later_ms = NOW_MS + 10_000 + 60_000 + FORGET_AFTER_MS
    account.prune(span(Kind.WINDOW, later_ms, UTC), later_ms)
    assert account.to_json() == {}


def test_reset_is_when_the_last_of_it_has_left_the_window() -> None:
    account = Account()
    _tell(account, NOW_MS, needs=(600,))
    grant = _tell(account, NOW_MS, seq=2, spent=600)
    assert grant.reset_ms == 61_000
    account.prune(span(Kind.WINDOW, NOW_MS + 61_000, UTC), NOW_MS + 61_000)
    assert account.used(span(Kind.WINDOW, NOW_MS + 61_000, UTC), NOW_MS + 61_000) == 0


def test_retry_is_when_enough_has_left_the_window_and_not_all() -> None:
    account = Account()
    _tell(account, NOW_MS, needs=(600,))
    _tell(account, NOW_MS, seq=2, spent=600)
    _tell(account, NOW_MS + 20_000, seq=3, needs=(400,))
    _tell(account, NOW_MS + 20_000, seq=4, spent=400)
    assert _tell(account, NOW_MS + 30_000, seq=5, needs=(500,)).retry_ms == 31_000
    assert _tell(account, NOW_MS + 30_000, seq=6, needs=(700,)).retry_ms == 51_000
