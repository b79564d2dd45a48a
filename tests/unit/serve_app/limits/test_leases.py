"""The conversation of one replica with the ledger."""

from __future__ import annotations

import asyncio

from serve_app.limits.config import LimitRule
from serve_app.limits.leases import ASKS_AT_ONCE
from serve_app.limits.ledger import Batch, Grant, Ledger
from serve_app.limits.rules import Caller, RuleSet
from tests.unit.serve_app.limits import simulation, virtual_time
from tests.unit.serve_app.limits.simulation import CALLER, MODEL, Network, Replica, Trace


class Wiretap:
    """Hands batches on, and remembers them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.batches: list[Batch] = []

    async def sync(self, batch: Batch) -> tuple[Grant, ...]:
        self.batches.append(batch)
        return await self._ledger.sync(batch)


def _replica(rules: RuleSet) -> tuple[Replica, Network, Wiretap]:
    tap = Wiretap(simulation.ledger())
    network = Network(tap, simulation.seeded(1))
    return Replica("r", network, rules, Trace()), network, tap


def test_what_was_granted_is_taken_before_the_next_batch_gives_it_back() -> None:
    async def main() -> None:
        replica, _, tap = _replica(simulation.rules(tokens_per_minute=1000))
        first = asyncio.create_task(replica.limiter.reserve(CALLER, MODEL, 900, 0))
        await asyncio.sleep(0.0001)
        second = asyncio.create_task(replica.limiter.reserve(CALLER, MODEL, 50, 0))
        await asyncio.gather(first, second)
        assert [[ask.needs for ask in batch.asks] for batch in tap.batches] == [[(900,)], [(50,)]]
        await replica.stop()

    virtual_time.run(main())


def test_many_buckets_are_reported_in_small_batches() -> None:
    async def main() -> None:
        rules = RuleSet([LimitRule.model_validate({"scope": "user", "requests_per_minute": 10})])
        replica, _, tap = _replica(rules)
        for i in range(500):
            await replica.limiter.reserve(Caller(user=f"u{i}"), MODEL, 1, 0)
        await asyncio.sleep(2)
        assert max(len(batch.asks) for batch in tap.batches) == ASKS_AT_ONCE
        assert sum(ask.spent for batch in tap.batches for ask in batch.asks) == 500
        await replica.stop()

    virtual_time.run(main())


def test_replica_forgets_buckets_that_nobody_uses() -> None:
    async def main() -> None:
        rules = RuleSet([LimitRule.model_validate({"scope": "user", "requests_per_minute": 10})])
        replica, _, tap = _replica(rules)
        for i in range(100):
            (await replica.limiter.reserve(Caller(user=f"u{i}"), MODEL, 1, 0)).settle(1, 0)
        await asyncio.sleep(40)
        assert not replica.leases._leases
        told = len(tap.batches)
        await asyncio.sleep(60)
        assert len(tap.batches) == told
        await replica.stop()

    virtual_time.run(main())


def test_batch_without_an_answer_is_sent_again_as_it_was() -> None:
    async def main() -> None:
        replica, network, tap = _replica(simulation.rules(tokens_per_minute=1000))
        network.loss = 1.0
        await replica.limiter.reserve(CALLER, MODEL, 10, 0)
        network.loss = 0.0
        await asyncio.sleep(1)
        await replica.limiter.reserve(CALLER, MODEL, 10, 0)
        network.loss = 0.5
        await asyncio.sleep(30)
        network.loss = 0.0
        await asyncio.sleep(2)
        by_seq: dict[int, Batch] = {}
        for batch in tap.batches:
            assert by_seq.setdefault(batch.seq, batch) == batch
        assert sum(ask.spent for batch in by_seq.values() for ask in batch.asks) == 20
        await replica.stop()

    virtual_time.run(main())


def test_replica_that_closes_in_the_middle_of_an_exchange_reports_once() -> None:
    async def main() -> None:
        replica, network, tap = _replica(simulation.rules(tokens_per_minute=1000))
        await replica.limiter.reserve(CALLER, MODEL, 10, 0)
        network.delay_s = 0.3
        await asyncio.sleep(0.55)
        await replica.stop()
        by_seq = {batch.seq: batch for batch in tap.batches}
        assert sum(ask.spent for batch in by_seq.values() for ask in batch.asks) == 10

    virtual_time.run(main())
