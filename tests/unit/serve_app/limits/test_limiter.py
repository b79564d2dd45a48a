"""One replica's limits: reserve, settle, refund, with the ledger there and away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from serve_app.limits.bucket import LimitName
from serve_app.limits.config import LedgerConfig
from serve_app.limits.refusal import LedgerAway, LimitExceeded, RequestTooLarge
from serve_app.limits.reservation import Reservation
from serve_app.limits.rules import Caller, RuleSet
from tests.unit.serve_app.limits import simulation, virtual_time
from tests.unit.serve_app.limits.simulation import CALLER, MODEL, Network, Replica, Trace

Scenario = Callable[[Replica, Network], Awaitable[None]]


def _play(scenario: Scenario, rules: RuleSet, config: LedgerConfig | None = None) -> None:
    """Run a scenario on one replica in virtual time."""

    async def main() -> None:
        network = Network(simulation.ledger(), simulation.seeded(1))
        replica = Replica("r", network, rules, Trace(), config=config)
        try:
            await scenario(replica, network)
        finally:
            await replica.stop()

    virtual_time.run(main())


async def _reserve(replica: Replica, tokens: int, caller: Caller = CALLER) -> Reservation:
    return await replica.limiter.reserve(caller, MODEL, tokens, 0)


async def _reserve_all(replica: Replica, tokens: int) -> int:
    """Reserve until there is no more; how many went ahead."""
    for count in range(100_000):
        try:
            await _reserve(replica, tokens)
        except LimitExceeded:
            return count
    raise AssertionError("there is no limit")


def test_without_rules_nothing_is_limited_and_the_ledger_hears_nothing() -> None:
    async def scenario(replica: Replica, network: Network) -> None:
        for _ in range(100):
            (await _reserve(replica, 10**9)).settle(1, 1)
        await asyncio.sleep(5)
        assert network.batches == 0

    _play(scenario, RuleSet([]))


def test_request_takes_from_all_limits_or_from_none() -> None:
    async def scenario(replica: Replica, network: Network) -> None:
        for _ in range(2):
            await _reserve(replica, 10)
        for _ in range(5):
            with pytest.raises(LimitExceeded) as caught:
                await _reserve(replica, 10)
            assert caught.value.bucket.limit is LimitName.REQUESTS_PER_MINUTE
            await asyncio.sleep(1)
        lease = next(s.lease for s in (await _other(replica)).shares if s.lease.bucket.limit.counts_tokens)
        assert lease.remaining + lease.balance == 1000 - 2 * 10 - 10

    async def _other(replica: Replica) -> Reservation:
        replica.limiter.rules = simulation.rules(tokens_per_minute=1000)
        return await _reserve(replica, 10)

    _play(scenario, simulation.rules(requests_per_minute=2, tokens_per_minute=1000))


def test_refusal_says_which_limit_of_whom_and_when_to_retry() -> None:
    async def scenario(replica: Replica, network: Network) -> None:
        await _reserve(replica, 900)
        await asyncio.sleep(20)
        with pytest.raises(LimitExceeded, match="1000 tokens per minute per tenant") as caught:
            await _reserve(replica, 500)
        assert 38 < caught.value.retry_after_s < 43
        await asyncio.sleep(caught.value.retry_after_s + 1)
        await _reserve(replica, 500)

    _play(scenario, simulation.rules(tokens_per_minute=1000))


def test_request_larger_than_the_limit_is_told_that_waiting_does_not_help() -> None:
    async def scenario(replica: Replica, network: Network) -> None:
        with pytest.raises(RequestTooLarge, match="smaller max_tokens"):
            await replica.limiter.reserve(CALLER, MODEL, 600, 500)
        await replica.limiter.reserve(CALLER, MODEL, 600, 400)

    _play(scenario, simulation.rules(tokens_per_minute=1000))


def test_refused_requests_do_not_bother_the_ledger() -> None:
    async def scenario(replica: Replica, network: Network) -> None:
        await _reserve(replica, 1000)
        for _ in range(500):
            with pytest.raises(LimitExceeded):
                await _reserve(replica, 100)
            await asyncio.sleep(0.01)
        assert network.batches < 5 / 0.5 * 3

    _play(scenario, simulation.rules(tokens_per_minute=1000))


def test_requests_that_come_at_once_ask_the_ledger_once() -> None:
    async def scenario(replica: Replica, network: Network) -> None:
        await asyncio.gather(*(_reserve(replica, 10) for _ in range(50)))
        assert network.batches == 1

    _play(scenario, simulation.rules(tokens_per_minute=1000, requests_per_minute=50))


@pytest.mark.parametrize("pause_s", [0, 0.001, 0.6, 3, 70])
@pytest.mark.parametrize("used", [0, 300, 600, 700])
def test_settled_request_counts_once_with_what_it_used_whenever_that_is(pause_s: float, used: int) -> None:
    async def scenario(replica: Replica, network: Network) -> None:
        reservation = await _reserve(replica, 600)
        await asyncio.sleep(pause_s)
        reservation.settle(used, 0)
        reservation.settle(used, 0)
        reservation.refund()
        assert not reservation.is_open
        await asyncio.sleep(0.6)
        left = await _reserve_all(replica, 10)
        if pause_s < 60:
            assert left == (1000 - used) // 10
        else:  # The reservation has left the window; only what was used beyond it is new.
            assert left == (1000 - max(0, used - 600)) // 10

    _play(scenario, simulation.rules(tokens_per_minute=1000))


@pytest.mark.parametrize("pause_s", [0, 0.001, 0.6, 3])
def test_refunded_request_leaves_no_trace(pause_s: float) -> None:
    async def scenario(replica: Replica, network: Network) -> None:
        reservation = await _reserve(replica, 600)
        await asyncio.sleep(pause_s)
        reservation.refund()
        reservation.settle(600, 0)
        await asyncio.sleep(0.6)
        assert await _reserve_all(replica, 100) == 10

    _play(scenario, simulation.rules(tokens_per_minute=1000, requests_per_minute=10, concurrent_requests=100))


def test_slot_is_free_again_when_the_request_is_settled() -> None:
    async def scenario(replica: Replica, network: Network) -> None:
        for _ in range(20):
            reservation = await _reserve(replica, 1)
            with pytest.raises(LimitExceeded):
                await _reserve(replica, 1)
            await asyncio.sleep(0.6)
            reservation.settle(1, 0)

    _play(scenario, simulation.rules(concurrent_requests=1))


def test_waiting_request_that_is_given_up_takes_nothing() -> None:
    async def scenario(replica: Replica, network: Network) -> None:
        for _ in range(20):
            waiting = asyncio.create_task(_reserve(replica, 1000))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.sleep(1)
        await _reserve(replica, 1000)

    _play(scenario, simulation.rules(tokens_per_minute=1000))


def test_idle_lease_is_given_back_before_it_ends() -> None:
    async def main() -> None:
        ledger = simulation.ledger()
        rules = simulation.rules(tokens_per_day=10_000)
        first, second = (
            Replica(name, Network(ledger, simulation.seeded(name)), rules, Trace()) for name in "ab"
        )
        (await _reserve(first, 100)).settle(100, 0)
        await asyncio.sleep(9)
        assert await _reserve_all(second, 100) == 99
        await first.stop()
        await second.stop()

    virtual_time.run(main())


def test_replica_that_closes_gives_everything_back_and_reports_everything() -> None:
    async def main() -> None:
        ledger = simulation.ledger()
        rules = simulation.rules(tokens_per_minute=1000)
        first, second = (
            Replica(name, Network(ledger, simulation.seeded(name)), rules, Trace()) for name in "ab"
        )
        await _reserve(first, 100)
        await first.stop()
        assert await _reserve_all(second, 100) == 9
        await second.stop()

    virtual_time.run(main())


def test_limit_raised_at_run_time_holds_at_once() -> None:
    async def scenario(replica: Replica, network: Network) -> None:
        assert await _reserve_all(replica, 100) == 10
        replica.limiter.rules = simulation.rules(tokens_per_minute=2000)
        await asyncio.sleep(0.6)
        assert await _reserve_all(replica, 100) == 10

    _play(scenario, simulation.rules(tokens_per_minute=1000))


def test_leases_last_while_the_ledger_is_away_for_a_moment() -> None:
    async def scenario(replica: Replica, network: Network) -> None:
        await _reserve(replica, 10)
        network.up = False
        await asyncio.sleep(3)
        assert not (await _reserve(replica, 10)).ledger_away

    _play(scenario, simulation.rules(tokens_per_minute=100_000), LedgerConfig(on_ledger_away="refuse"))


def test_ledger_that_is_away_closes_the_door_where_that_is_configured() -> None:
    async def scenario(replica: Replica, network: Network) -> None:
        network.up = False
        with pytest.raises(LedgerAway):
            await _reserve(replica, 10)
        network.up = True
        await asyncio.sleep(0.6)
        await _reserve(replica, 10)

    _play(scenario, simulation.rules(tokens_per_minute=1000), LedgerConfig(on_ledger_away="refuse"))


def test_ledger_that_is_away_leaves_the_door_open_for_so_much_and_says_so() -> None:
    async def scenario(replica: Replica, network: Network) -> None:
        network.up = False
        for _ in range(10):
            assert (await _reserve(replica, 10)).ledger_away
        with pytest.raises(LedgerAway):
            await _reserve(replica, 10)
        network.up = True
        await asyncio.sleep(0.6)
        # What went ahead without the ledger is reported to it when it is back.
        assert await _reserve_all(replica, 10) == 90

    _play(scenario, simulation.rules(tokens_per_minute=1000), LedgerConfig(away_allowance_ratio=0.1))


def test_slots_are_used_again_and_again_while_the_ledger_is_away() -> None:
    async def scenario(replica: Replica, network: Network) -> None:
        network.up = False
        for _ in range(10):
            reservation = await _reserve(replica, 1)
            with pytest.raises(LedgerAway):
                await _reserve(replica, 1)
            reservation.settle(1, 0)

    _play(scenario, simulation.rules(concurrent_requests=5), LedgerConfig(away_allowance_ratio=0.1))


def test_ledger_that_stays_away_closes_the_door_after_the_grace() -> None:
    async def scenario(replica: Replica, network: Network) -> None:
        network.up = False
        assert (await _reserve(replica, 10)).ledger_away
        await asyncio.sleep(29)
        assert (await _reserve(replica, 10)).ledger_away
        await asyncio.sleep(2)
        with pytest.raises(LedgerAway):
            await _reserve(replica, 10)

    _play(scenario, simulation.rules(tokens_per_minute=1000), LedgerConfig(away_grace_s=30))


def test_ledger_that_hangs_is_away_after_the_timeout_and_only_once() -> None:
    async def scenario(replica: Replica, network: Network) -> None:
        loop = asyncio.get_running_loop()
        network.delay_s = 1e6
        began_s = loop.time()
        await _reserve(replica, 10)
        assert loop.time() - began_s == pytest.approx(1, abs=0.01)
        began_s = loop.time()
        await _reserve(replica, 10)
        assert loop.time() == began_s
        network.delay_s = 0.002
        await asyncio.sleep(3)
        assert not (await _reserve(replica, 10)).ledger_away

    _play(scenario, simulation.rules(tokens_per_minute=1000))


def test_answer_is_reserved_as_long_as_earlier_ones_were() -> None:
    async def scenario(replica: Replica, network: Network) -> None:
        assert (await replica.limiter.reserve(CALLER, MODEL, 10, 4096)).tokens == 10 + 512
        for _ in range(30):
            (await replica.limiter.reserve(CALLER, MODEL, 10, 4096)).settle(10, 100)
        reserved = (await replica.limiter.reserve(CALLER, MODEL, 10, 4096)).tokens - 10
        assert 100 <= reserved <= 119
        assert (await replica.limiter.reserve(CALLER, MODEL, 10, 50)).tokens == 60

    _play(scenario, simulation.rules(tokens_per_minute=1_000_000))


def test_answer_that_was_cut_short_teaches_nothing() -> None:
    async def scenario(replica: Replica, network: Network) -> None:
        for _ in range(30):
            (await replica.limiter.reserve(CALLER, MODEL, 10, 4096)).settle(10, 3, complete=False)
        assert (await replica.limiter.reserve(CALLER, MODEL, 10, 4096)).tokens == 10 + 512

    _play(scenario, simulation.rules(tokens_per_minute=1_000_000))
