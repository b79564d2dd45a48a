"""What every ledger does, embedded or in Redis."""

from __future__ import annotations

from typing import Any

import pytest

from serve_app.limits.bucket import LimitName
from tests.unit.serve_app.limits.ledgers import TTL_MS, MovableLedger, Teller

TPM = LimitName.TOKENS_PER_MINUTE


async def test_need_is_granted_as_long_as_it_lasts_and_then_refused(ledger: MovableLedger) -> None:
    teller = Teller(ledger, "a", TPM, 1000)
    grant = await teller.tell(needs=(400, 500))
    assert (grant.amount, grant.remaining, grant.refused) == (900, 100, 0)
    assert 0 < grant.valid_ms <= TTL_MS
    grant = await teller.tell(keep=900, needs=(300, 100, 200))
    assert (grant.amount, grant.remaining, grant.refused) == (1000, 0, 200)
    assert grant.scarce


async def test_wish_is_met_in_part_while_much_is_left_and_not_at_all_when_scarce(
    ledger: MovableLedger,
) -> None:
    first, second = Teller(ledger, "a", TPM, 1000), Teller(ledger, "b", TPM, 1000)
    grant = await first.tell(needs=(200,), want=10_000)
    assert (grant.amount, grant.scarce) == (200 + 800 // 8, False)
    grant = await second.tell(needs=(600,), want=10_000)
    assert (grant.amount, grant.scarce) == (600, True)


async def test_report_that_is_repeated_counts_once(ledger: MovableLedger) -> None:
    teller = Teller(ledger, "a", TPM, 1000)
    await teller.tell(needs=(400,))
    said: dict[str, Any] = {"spent": 300, "keep": 100, "needs": (50,)}
    first = await teller.tell(**said)
    again = await teller.tell(again=True, **said)
    assert (again.amount, again.counted_ms, again.remaining) == (150, first.counted_ms, 550)
    assert again.valid_ms <= first.valid_ms


async def test_batch_that_was_overtaken_counts_no_more(ledger: MovableLedger) -> None:
    teller = Teller(ledger, "a", TPM, 1000)
    await teller.tell(needs=(400,))
    await teller.tell(spent=300, keep=100)
    teller.seq = 0
    late = await teller.tell(needs=(400,))
    assert (late.amount, late.remaining) == (100, 600)


async def test_spent_tokens_leave_the_window_after_a_minute_and_not_before(ledger: MovableLedger) -> None:
    teller = Teller(ledger, "a", TPM, 1000)
    await teller.tell(needs=(1000,))
    await teller.tell(spent=1000)
    await ledger.advance(59.9)
    grant = await teller.tell(needs=(1000,))
    assert grant.refused == 1000
    assert 0 < grant.retry_ms <= 1_200
    await ledger.advance(1.2)
    assert (await teller.tell(needs=(1000,))).amount == 1000


async def test_refund_frees_what_was_reported_before(ledger: MovableLedger) -> None:
    teller = Teller(ledger, "a", TPM, 1000)
    await teller.tell(needs=(800,))
    counted_ms = (await teller.tell(spent=800)).counted_ms
    assert (await teller.tell(refunds=((counted_ms, 500),))).remaining == 700
    assert (await teller.tell(again=True, refunds=((counted_ms, 500),))).remaining == 700


async def test_refund_of_what_left_the_window_frees_nothing(ledger: MovableLedger) -> None:
    teller = Teller(ledger, "a", TPM, 1000)
    await teller.tell(needs=(800,))
    counted_ms = (await teller.tell(spent=800)).counted_ms
    await ledger.advance(70)
    await teller.tell(spent=300)
    # Seen from now, what was counted then was counted seventy seconds ago.
    assert (await teller.tell(refunds=((counted_ms - 70_000, 800),))).remaining == 700


async def test_returned_lease_is_free_at_once(ledger: MovableLedger) -> None:
    first, second = Teller(ledger, "a", TPM, 1000), Teller(ledger, "b", TPM, 1000)
    await first.tell(needs=(900,))
    assert (await second.tell(needs=(500,))).refused == 500
    await first.tell(keep=0)
    assert (await second.tell(needs=(500,))).amount == 500


async def test_lease_of_a_silent_replica_counts_while_it_may_be_spent_within_the_window(
    ledger: MovableLedger,
) -> None:
    silent, other = Teller(ledger, "a", TPM, 1000), Teller(ledger, "b", TPM, 1000)
    await silent.tell(needs=(900,))
    await ledger.advance(TTL_MS / 1000 + 59)
    assert (await other.tell(needs=(500,))).refused == 500
    await ledger.advance(1.1)
    assert (await other.tell(needs=(500,))).amount == 500


async def test_late_report_is_counted_and_its_lease_is_not_kept(ledger: MovableLedger) -> None:
    late, other = Teller(ledger, "a", TPM, 1000), Teller(ledger, "b", TPM, 1000)
    await late.tell(needs=(900,))
    await ledger.advance(20)
    grant = await late.tell(spent=300, keep=600)
    assert grant.amount == 0
    # Of the other 600 some may have been spent in time and not yet reported.
    assert (await other.tell(needs=(500,))).refused == 500
    await ledger.advance(61)
    assert (await other.tell(needs=(500,))).amount == 500


@pytest.mark.parametrize("limit", [LimitName.TOKENS_PER_DAY, LimitName.CONCURRENT_REQUESTS])
async def test_lease_of_a_silent_replica_comes_back_at_its_end(
    ledger: MovableLedger, limit: LimitName
) -> None:
    silent, other = Teller(ledger, "a", limit, 1000), Teller(ledger, "b", limit, 1000)
    valid_s = (await silent.tell(needs=(900,))).valid_ms / 1000
    assert (await other.tell(needs=(500,))).refused == 500
    await ledger.advance(valid_s - 1)
    assert (await other.tell(needs=(500,))).refused == 500
    await ledger.advance(1.1)
    assert (await other.tell(needs=(500,))).amount == 500


async def test_overrun_is_owed(ledger: MovableLedger) -> None:
    teller = Teller(ledger, "a", TPM, 1000)
    await teller.tell(needs=(900,))
    grant = await teller.tell(spent=1500)
    assert (grant.amount, grant.remaining) == (0, 0)
    await ledger.advance(62)
    assert (await teller.tell(needs=(1000,))).amount == 1000


async def test_requests_in_hand_count_even_when_the_lease_ended(ledger: MovableLedger) -> None:
    limit = LimitName.CONCURRENT_REQUESTS
    slow, other = Teller(ledger, "a", limit, 3), Teller(ledger, "b", limit, 3)
    await slow.tell(needs=(1, 1))
    await ledger.advance(30)
    assert (await slow.tell(in_use=2, keep=2)).amount == 2
    assert (await other.tell(needs=(1, 1))).amount == 1


async def test_slot_that_comes_back_goes_to_the_replica_that_was_refused(ledger: MovableLedger) -> None:
    limit = LimitName.CONCURRENT_REQUESTS
    busy, waiting = Teller(ledger, "a", limit, 1), Teller(ledger, "b", limit, 1)
    await busy.tell(needs=(1,))
    assert (await waiting.tell(needs=(1,))).refused == 1
    assert (await busy.tell(in_use=0, keep=0, needs=(1,))).refused == 1
    assert (await waiting.tell(needs=(1,))).amount == 1


async def test_lowered_limit_holds_for_what_is_granted_next(ledger: MovableLedger) -> None:
    await Teller(ledger, "a", TPM, 1000).tell(needs=(600,))
    assert (await Teller(ledger, "b", TPM, 500).tell(needs=(10,))).refused == 10
    assert (await Teller(ledger, "c", TPM, 2000).tell(needs=(900,))).amount == 900
