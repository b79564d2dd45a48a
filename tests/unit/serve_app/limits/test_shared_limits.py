"""Several replicas under one limit, in virtual time: never above it, and hardly below."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from serve_app.limits.config import LedgerConfig
from serve_app.limits.embedded import EmbeddedLedger
from tests.unit.serve_app.limits import simulation, virtual_time
from tests.unit.serve_app.limits.simulation import Network, Replica, Trace
from tests.unit.serve_app.limits.stores import MemoryStore

TOKENS_PER_MINUTE = 60_000
LEASE_TTL_S = 10.0


def _networks(ledger: EmbeddedLedger, seed: int, loss: float = 0.0) -> list[Network]:
    return [Network(ledger, simulation.seeded(seed * 10 + i), loss=loss) for i in range(3)]


def _replicas(
    networks: Sequence[Network], trace: Trace, config: LedgerConfig | None = None, **limits: int
) -> list[Replica]:
    rule_set = simulation.rules(**limits)
    return [Replica(f"r{i}", network, rule_set, trace, config=config) for i, network in enumerate(networks)]


async def _stop(replicas: Sequence[Replica]) -> None:
    for replica in replicas:
        await replica.stop()


@pytest.mark.parametrize("seed", [1, 2])
def test_three_replicas_and_sixty_clients_use_a_limit_up_and_never_exceed_it(seed: int) -> None:
    trace = Trace()

    async def main() -> None:
        networks = _networks(simulation.ledger(), seed)
        replicas = _replicas(networks, trace, tokens_per_minute=TOKENS_PER_MINUTE)
        for replica in replicas:
            replica.serve(20)
        # Not a multiple of a minute, so that the burst of a first minute does not count as one more.
        await asyncio.sleep(390)
        await _stop(replicas)

    virtual_time.run(main())
    assert trace.peak() <= TOKENS_PER_MINUTE
    assert trace.total(30, 390) >= 0.95 * TOKENS_PER_MINUTE * 6


def test_accepted_requests_are_exact_for_a_small_limit() -> None:
    trace = Trace()

    async def main() -> None:
        replicas = _replicas(_networks(simulation.ledger(), 4), trace, requests_per_minute=5)
        for replica in replicas:
            replica.serve(20, tokens=(1, 1))
        await asyncio.sleep(330)
        await _stop(replicas)

    virtual_time.run(main())
    assert trace.peak() <= 5
    assert trace.total(30, 330) >= 0.95 * 5 * 5


@pytest.mark.parametrize("seed", [5, 6])
def test_lost_messages_and_lost_answers_never_lift_a_limit(seed: int) -> None:
    trace = Trace()
    config = LedgerConfig(on_ledger_away="refuse")

    async def main() -> None:
        networks = _networks(simulation.ledger(), seed, loss=0.2)
        replicas = _replicas(networks, trace, config, tokens_per_minute=TOKENS_PER_MINUTE)
        for replica in replicas:
            replica.serve(20)
        await asyncio.sleep(400)
        await _stop(replicas)

    virtual_time.run(main())
    assert trace.peak() <= TOKENS_PER_MINUTE
    assert trace.total() >= 0.8 * TOKENS_PER_MINUTE * 400 / 60


def test_killed_replica_loses_its_lease_only_and_the_lease_comes_back() -> None:
    trace = Trace()

    async def main() -> None:
        networks = _networks(simulation.ledger(), 7)
        replicas = _replicas(networks, trace, tokens_per_minute=TOKENS_PER_MINUTE)
        for replica in replicas:
            replica.serve(20)
        await asyncio.sleep(90)
        await replicas[0].kill()
        await asyncio.sleep(300)
        await _stop(replicas[1:])

    virtual_time.run(main())
    assert trace.peak() <= TOKENS_PER_MINUTE
    # From the lease's expiry, and the minute in which it might have been spent, on all of it is there again.
    whole_s = 90 + LEASE_TTL_S + 60
    assert trace.total(whole_s, whole_s + 180) >= 0.95 * TOKENS_PER_MINUTE * 3
    assert {each.replica for each in trace.accepted if each.at_s > 90} == {"r1", "r2"}


def test_replicas_that_are_killed_again_and_again_never_lift_a_limit() -> None:
    trace = Trace()

    async def main() -> None:
        ledger, rng = simulation.ledger(), simulation.seeded(8)
        rule_set = simulation.rules(tokens_per_minute=TOKENS_PER_MINUTE)
        for life in range(40):
            lives = [Replica(f"r{i}.{life}", Network(ledger, rng), rule_set, trace) for i in range(2)]
            for replica in lives:
                replica.serve(10)
            await asyncio.sleep(rng.uniform(0.5, 8))
            for replica in lives:
                await replica.kill()

    virtual_time.run(main())
    assert len(trace.accepted) > 100
    assert trace.peak() <= TOKENS_PER_MINUTE


def test_restarted_ledger_knows_what_it_granted() -> None:
    trace, store = Trace(), MemoryStore()

    async def main() -> None:
        networks = _networks(simulation.ledger(store), 9)
        config = LedgerConfig(on_ledger_away="refuse")
        replicas = _replicas(networks, trace, config, tokens_per_minute=TOKENS_PER_MINUTE)
        for replica in replicas:
            replica.serve(20)
        for pause_s in (5, 25, 40, 70, 100):
            await asyncio.sleep(pause_s)
            again = simulation.ledger(store)
            await again.open()
            for network in networks:
                network.ledger = again
        await asyncio.sleep(60)
        await _stop(replicas)

    virtual_time.run(main())
    assert trace.peak() <= TOKENS_PER_MINUTE
    assert trace.total() >= 0.95 * TOKENS_PER_MINUTE * 5


def test_partitioned_replica_never_lifts_a_limit_when_its_reports_come_late() -> None:
    trace = Trace()

    async def main() -> None:
        networks = _networks(simulation.ledger(), 10)
        config = LedgerConfig(on_ledger_away="refuse")
        replicas = _replicas(networks, trace, config, tokens_per_minute=TOKENS_PER_MINUTE)
        for replica in replicas:
            replica.serve(20)
        for up_s, down_s in ((3, 20), (61, 5), (30, 30), (2, 70)):
            await asyncio.sleep(up_s)
            networks[0].up = False
            await asyncio.sleep(down_s)
            networks[0].up = True
        await asyncio.sleep(60)
        await _stop(replicas)

    virtual_time.run(main())
    assert trace.peak() <= TOKENS_PER_MINUTE
    assert trace.total(0, 60) >= 0.95 * TOKENS_PER_MINUTE


def test_clocks_that_differ_and_drift_never_lift_a_limit() -> None:
    trace = Trace()

    async def main() -> None:
        ledger = simulation.ledger()
        rule_set = simulation.rules(tokens_per_minute=TOKENS_PER_MINUTE)
        clocks = [(1.0, 0.0), (1.01, 86_400.0), (0.99, 12_345.0)]
        replicas = [
            Replica(
                f"r{i}",
                Network(ledger, simulation.seeded(i)),
                rule_set,
                trace,
                clock=simulation.loop_clock(rate, ahead_s),
            )
            for i, (rate, ahead_s) in enumerate(clocks)
        ]
        for replica in replicas:
            replica.serve(20)
        await asyncio.sleep(330)
        await _stop(replicas)

    virtual_time.run(main())
    assert trace.peak() <= TOKENS_PER_MINUTE
    assert trace.total(30, 330) >= 0.95 * TOKENS_PER_MINUTE * 5


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_concurrency_is_never_exceeded_and_no_replica_starves(limit: int) -> None:
    trace, peak, busy_s = Trace(), 0, 0.0

    async def main() -> None:
        nonlocal peak, busy_s
        replicas = _replicas(_networks(simulation.ledger(), 11), trace, concurrent_requests=limit)
        for replica in replicas:
            replica.serve(10, tokens=(1, 1))
        for _ in range(30_000):
            await asyncio.sleep(0.01)
            in_hand = sum(replica.in_hand for replica in replicas)
            peak = max(peak, in_hand)
            busy_s += 0.01 * in_hand
        await _stop(replicas)

    virtual_time.run(main())
    assert peak == limit
    assert busy_s >= 0.8 * limit * 300
    shares = [sum(each.replica == name for each in trace.accepted) for name in ("r0", "r1", "r2")]
    assert min(shares) >= 0.2 * len(trace.accepted)


def test_slots_of_a_killed_replica_come_back_with_its_lease() -> None:
    trace = Trace()

    async def main() -> None:
        networks = _networks(simulation.ledger(), 12)
        replicas = _replicas(networks, trace, concurrent_requests=2)
        replicas[0].serve(10, tokens=(1, 1), hold_s=1000)
        await asyncio.sleep(5)
        assert replicas[0].in_hand == 2
        await replicas[0].kill()
        trace.accepted.clear()
        replicas[1].serve(10, tokens=(1, 1), hold_s=1000)
        await asyncio.sleep(LEASE_TTL_S + 1)
        assert replicas[1].in_hand == 2
        await _stop(replicas[1:])

    virtual_time.run(main())


def test_long_generations_do_not_cost_throughput() -> None:
    trace = Trace()

    async def main() -> None:
        networks = _networks(simulation.ledger(), 13)
        replicas = _replicas(networks, trace, requests_per_minute=60)
        for replica in replicas:
            replica.used_shares = (1,)
            replica.serve(60, tokens=(1, 1), hold_s=40)
        await asyncio.sleep(330)
        await _stop(replicas)

    virtual_time.run(main())
    assert trace.peak() <= 60
    assert trace.total(30, 330) >= 0.95 * 60 * 5


def test_day_budget_holds_over_midnight() -> None:
    trace = Trace()
    to_midnight_s = -simulation.EPOCH_S % 86_400

    async def main() -> None:
        networks = _networks(simulation.ledger(), 14)
        replicas = _replicas(networks, trace, tokens_per_day=TOKENS_PER_MINUTE)
        await asyncio.sleep(to_midnight_s - 30)
        for replica in replicas:
            replica.serve(20)
        await asyncio.sleep(90)
        await _stop(replicas)

    virtual_time.run(main())
    before, after = trace.total(0, to_midnight_s), trace.total(to_midnight_s)
    assert 0.95 * TOKENS_PER_MINUTE <= before <= TOKENS_PER_MINUTE
    assert 0.95 * TOKENS_PER_MINUTE <= after <= TOKENS_PER_MINUTE


def test_light_load_needs_no_ledger_for_the_usual_request() -> None:
    trace = Trace()

    async def main() -> int:
        networks = _networks(simulation.ledger(), 15)
        replicas = _replicas(networks, trace, requests_per_minute=100_000, tokens_per_minute=10**9)
        for replica in replicas:
            replica.serve(20, hold_s=0.1)
        await asyncio.sleep(60)
        await _stop(replicas)
        return sum(network.batches for network in networks)

    batches = virtual_time.run(main())
    assert trace.refused == 0
    # One report for each replica and interval, and a few more while the demand is being learned.
    assert batches <= 3 * (60 / 0.5) * 1.2
    assert len(trace.accepted) > 50 * batches
