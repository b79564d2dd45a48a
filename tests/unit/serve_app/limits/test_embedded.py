"""The embedded ledger and its store."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from serve_app.limits.bucket import LimitName
from serve_app.limits.embedded import EmbeddedLedger
from serve_app.limits.ledger import Ask, Batch, LedgerUnavailable
from tests.unit.serve_app.limits.ledgers import bucket
from tests.unit.serve_app.limits.simulation import EPOCH_S
from tests.unit.serve_app.limits.stores import MemoryStore

UTC = ZoneInfo("UTC")


class Clock:
    """Time by hand."""

    def __init__(self) -> None:
        self.now_s = EPOCH_S

    def __call__(self) -> float:
        return self.now_s


def _batch(
    seq: int, replica: str = "a", limit: LimitName = LimitName.TOKENS_PER_MINUTE, **said: Any
) -> Batch:
    return Batch(replica, seq, 10_000, (Ask(bucket(limit).id, limit, 1000, **said),))


async def test_grant_is_in_the_store_before_it_is_answered() -> None:
    store = MemoryStore()
    await EmbeddedLedger(UTC, store).sync(_batch(1, needs=(700,)))
    again = EmbeddedLedger(UTC, store)
    await again.open()
    (grant,) = await again.sync(_batch(1, "b", needs=(400,)))
    assert grant.refused == 400


async def test_report_is_counted_once_over_a_restart() -> None:
    store, clock = MemoryStore(), Clock()
    ledger = EmbeddedLedger(UTC, store, clock)
    await ledger.sync(_batch(1, needs=(700,)))
    told = _batch(2, spent=500, keep=200)
    first = await ledger.sync(told)
    again = EmbeddedLedger(UTC, store, clock)
    await again.open()
    assert await again.sync(told) == first


async def test_month_budget_survives_a_restart() -> None:
    store, clock = MemoryStore(), Clock()
    limit = LimitName.TOKENS_PER_MONTH
    ledger = EmbeddedLedger(UTC, store, clock)
    await ledger.sync(_batch(1, limit=limit, needs=(900,)))
    await ledger.sync(_batch(2, limit=limit, spent=900))
    clock.now_s += 86_400
    again = EmbeddedLedger(UTC, store, clock)
    await again.open()
    (grant,) = await again.sync(_batch(1, "b", limit=limit, needs=(500,)))
    assert (grant.refused, grant.remaining) == (500, 100)
    clock.now_s += 7 * 86_400  # December.
    (grant,) = await again.sync(_batch(2, "b", limit=limit, needs=(500,)))
    assert grant.amount == 500


async def test_nothing_is_granted_that_cannot_be_written_down() -> None:
    store = MemoryStore()
    ledger = EmbeddedLedger(UTC, store)
    store.down = True
    with pytest.raises(LedgerUnavailable, match="store"):
        await ledger.sync(_batch(1, needs=(700,)))
    store.down = False
    (grant,) = await ledger.sync(_batch(1, needs=(700,)))
    assert (grant.amount, grant.remaining) == (700, 300)
    assert store.rows


async def test_store_that_cannot_be_read_is_an_error_at_the_start() -> None:
    store = MemoryStore()
    store.down = True
    with pytest.raises(LedgerUnavailable, match="cannot be read"):
        await EmbeddedLedger(UTC, store).open()


async def test_batches_that_come_during_a_write_share_the_next_one() -> None:
    store = MemoryStore()
    ledger = EmbeddedLedger(UTC, store)
    await asyncio.gather(*(ledger.sync(_batch(1, f"r{i}", needs=(1,))) for i in range(50)))
    assert store.saves <= 3


async def test_accounts_in_which_nothing_counts_are_let_go_in_the_store_too() -> None:
    store, clock = MemoryStore(), Clock()
    ledger = EmbeddedLedger(UTC, store, clock)
    await ledger.sync(_batch(1, needs=(700,)))
    clock.now_s += 3_600
    await ledger.sync(_batch(1, limit=LimitName.TOKENS_PER_DAY, needs=(1,)))
    kept: Mapping[str, Mapping[str, Any]] = store.load()
    assert kept[bucket().id] == {}
    assert kept[bucket(LimitName.TOKENS_PER_DAY).id] != {}
