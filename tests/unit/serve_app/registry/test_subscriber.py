"""A replica and the registry in step."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

import pytest

from serve_app.auth.credentials import Credentials
from serve_app.auth.keys import NewKey
from serve_app.limits import Caller, LimitRule, RuleSet, Scope
from serve_app.registry import Registry, RegistryClient, Subscriber
from serve_app.registry.operations import CreateKey, DeleteLimit, GetKey, RevokeKey, SetLimit, SumUsage
from serve_app.store import LimitKey
from serve_app.usage.collector import UsageCollector
from tests.unit.serve_app.registry.conftest import Line

NEW = NewKey(name="laptop", subject="zhangsan", tenant="research")
CALLER = ("research", "zhangsan", "", "chat", "chat")
RULE = LimitRule(scope=Scope.USER, requests_per_minute=60)
RAISED = LimitKey("user", "zhangsan", "requests_per_minute")


class Replica:
    """What an ingress replica keeps in step."""

    def __init__(self, line: Line) -> None:
        self.credentials = Credentials(60)
        self.usage = UsageCollector()
        self.rules: list[RuleSet] = []
        self.subscriber = Subscriber(
            RegistryClient(line),
            self.credentials,
            self.usage,
            rules=[RULE],
            on_rules=self.rules.append,
            interval_s=0.01,
        )


@pytest.fixture
def replica(line: Line) -> Replica:
    return Replica(line)


async def requests(registry: Registry) -> int:
    return sum(each.requests for each in await registry.run(SumUsage(())))


async def until(holds: Callable[[], bool]) -> None:
    """Poll, for ten seconds at most."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110  (what is polled tells nobody)
            await asyncio.sleep(0.005)


async def test_key_is_known_until_it_is_revoked(registry: Registry, replica: Replica) -> None:
    issued = await registry.run(CreateKey(NEW))
    assert await replica.subscriber.exchange()
    assert replica.credentials.find(issued.secret) is not None
    await registry.run(RevokeKey(issued.record.id))
    await replica.subscriber.exchange()
    assert replica.credentials.find(issued.secret) is None


async def test_use_of_a_key_is_told_even_if_the_first_report_is_lost(
    registry: Registry, line: Line, replica: Replica
) -> None:
    issued = await registry.run(CreateKey(NEW))
    await replica.subscriber.exchange()
    held = replica.credentials.find(issued.secret)
    assert held is not None
    replica.credentials.note_use(held)
    line.is_cut = True
    assert not await replica.subscriber.exchange()
    line.is_cut = False
    await replica.subscriber.exchange()
    assert (await registry.run(GetKey(issued.record.id))).last_used_at is not None


async def test_usage_counts_once_though_its_answer_was_lost(
    registry: Registry, line: Line, replica: Replica
) -> None:
    replica.usage.add(*CALLER, 1, 2)
    line.loses_answers = True
    assert not await replica.subscriber.exchange()
    assert await requests(registry) == 1
    replica.usage.add(*CALLER, 1, 2)
    line.loses_answers = False
    await replica.subscriber.exchange()
    await replica.subscriber.exchange()
    assert await requests(registry) == 2


async def test_registry_that_is_away_is_said_so_once_and_costs_nothing(
    registry: Registry, line: Line, replica: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("ray.serve")
    logger.addHandler(caplog.handler)
    try:
        line.is_cut = True
        for _ in range(3):
            replica.usage.add(*CALLER, 1, 2)
            assert not await replica.subscriber.exchange()
    finally:
        logger.removeHandler(caplog.handler)
    assert [record.getMessage() for record in caplog.records] == ["The registry does not answer"]
    line.is_cut = False
    await replica.subscriber.close()
    assert await requests(registry) == 3


async def test_limit_that_an_administrator_sets_holds_until_it_is_unset(
    registry: Registry, replica: Replica
) -> None:
    caller = Caller("zhangsan", "research")

    def limit() -> int:
        (quota,) = replica.rules[-1].quotas(caller, "chat")
        return quota.limit

    await registry.run(SetLimit(RAISED, 100, "root"))
    await replica.subscriber.exchange()
    assert limit() == 100
    await replica.subscriber.exchange()
    assert len(replica.rules) == 1  # the same limits are not told again
    await registry.run(DeleteLimit(RAISED))
    await replica.subscriber.exchange()
    assert limit() == 60


async def test_reports_go_on_by_themselves_after_an_outage(
    registry: Registry, line: Line, replica: Replica
) -> None:
    line.is_cut = True
    replica.subscriber.start()
    await until(lambda: line.asks >= 2)
    issued = await registry.run(CreateKey(NEW))
    line.is_cut = False
    await until(lambda: replica.credentials.find(issued.secret) is not None)
    await replica.subscriber.close()
    asks = line.asks
    with suppress(TimeoutError):
        async with asyncio.timeout(0.1):
            await until(lambda: line.asks > asks)
    assert line.asks == asks


async def test_stop_reports_what_came_after_a_report_without_an_answer(
    registry: Registry, line: Line, replica: Replica
) -> None:
    replica.usage.add(*CALLER, 1, 2)
    line.is_cut = True
    await replica.subscriber.exchange()
    replica.usage.add(*CALLER, 1, 2)
    line.is_cut = False
    await replica.subscriber.close()
    assert await requests(registry) == 2


async def test_stop_in_the_middle_of_a_report_counts_it_once(
    registry: Registry, line: Line, replica: Replica
) -> None:
    replica.usage.add(*CALLER, 1, 2)
    line.held = asyncio.Event()
    replica.subscriber.start()
    await until(lambda: line.asks == 1)
    replica.usage.add(*CALLER, 1, 2)
    closing = asyncio.create_task(replica.subscriber.close())
    await until(lambda: line.asks == 2)
    line.held.set()
    await closing
    assert await requests(registry) == 2
