"""The registry with a database that is down: at the start, later, and back again."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from serve_app.auth.keys import IssuedKey, NewKey
from serve_app.errors import Conflict, NotFound, RegistryUnavailable
from serve_app.limits import Batch, Grant, LimitName, LimitsConfig
from serve_app.limits.ledger import Ask
from serve_app.registry import Registry
from serve_app.registry.fault import Fault, FaultKind
from serve_app.registry.operations import CreateKey, GetKey, ListKeys, Report, RotateKey, SumUsage
from serve_app.store import StoreConfig, UsageRow, UsageSum
from tests.unit.serve_app.registry.conftest import Clock

NEW = NewKey(name="laptop", subject="zhangsan")
ROW = UsageRow(1_800_000_000, "research", "zhangsan", "", "chat", "chat", 1, 10, 20)
ASK = Ask("tokens_per_minute/user/a/b/*", LimitName.TOKENS_PER_MINUTE, 100, needs=(60,))


async def test_operations_are_answered(registry: Registry) -> None:
    issued = await registry.run(CreateKey(NEW))
    assert isinstance(issued, IssuedKey)
    assert await registry.run(ListKeys()) == (issued.record,)
    assert await registry.run(GetKey(issued.record.id)) == issued.record


async def test_what_is_wrong_with_an_operation_is_a_fault_that_names_the_field(registry: Registry) -> None:
    await registry.run(CreateKey(NEW))
    taken = await registry.run(CreateKey(NEW))
    assert isinstance(taken, Fault)
    assert isinstance(taken.error(), Conflict)
    assert taken.error().param == "name"
    missing = await registry.run(RotateKey("key_none", 0))
    assert isinstance(missing.error(), NotFound)


async def test_database_that_is_down_at_the_start_is_used_once_it_is_up(
    registry: Registry, path: Path, clock: Clock
) -> None:
    path.parent.touch()  # a file where the folder has to be
    down = await registry.run(ListKeys())
    assert down.kind is FaultKind.UNAVAILABLE
    assert str(path) in down.message
    assert isinstance(await registry.grant(Batch("replica", 1, 1000, (ASK,))), Fault)

    path.parent.unlink()
    # Not asked again at once: what waits for a database that is down takes its time.
    assert await registry.run(ListKeys()) == down
    clock.now += 2
    assert await registry.run(ListKeys()) == ()


async def test_many_at_once_open_the_database_once(path: Path) -> None:
    # They wait for each other's writes, on a slow disk for seconds.
    registry = Registry(StoreConfig(url=f"sqlite:///{path}", timeout_s=60), LimitsConfig())
    answers = await asyncio.gather(
        *(registry.run(CreateKey(NEW.model_copy(update={"name": f"key {n}"}))) for n in range(20))
    )
    assert all(isinstance(answer, IssuedKey) for answer in answers)
    assert len(await registry.run(ListKeys())) == 20
    await registry.close()


async def test_database_that_goes_down_later_loses_nothing_that_is_sent_again(
    registry: Registry, path: Path
) -> None:
    report = Report(0, {}, "flush-1", (ROW,))
    await registry.run(ListKeys())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    down = await registry.run(report)
    assert isinstance(down.error(), RegistryUnavailable)
    assert down.error().headers["retry-after"] == "5"
    other.execute("ROLLBACK")
    other.close()

    await registry.run(report)
    await registry.run(report)
    assert await registry.run(SumUsage(())) == (UsageSum((), 1, 10, 20),)


async def test_accounts_that_cannot_be_read_are_a_fault_until_they_can(
    registry: Registry, path: Path, clock: Clock
) -> None:
    await Registry(StoreConfig(url=f"sqlite:///{path}"), LimitsConfig()).run(ListKeys())
    with sqlite3.connect(path) as other:
        other.execute("INSERT INTO ledger_buckets VALUES ('a', 'no JSON', 0)")
    down = await registry.run(ListKeys())
    assert down.kind is FaultKind.UNAVAILABLE
    with sqlite3.connect(path) as other:
        other.execute("DELETE FROM ledger_buckets")
    other.close()
    clock.now += 2
    assert await registry.run(ListKeys()) == ()


async def test_grants_outlive_a_restart(registry: Registry, path: Path) -> None:
    answer = await registry.grant(Batch("replica-1", 1, 10_000, (ASK,)))
    assert not isinstance(answer, Fault)
    assert answer[0].amount >= 60
    await registry.close()
    restarted = Registry(StoreConfig(url=f"sqlite:///{path}"), LimitsConfig())
    (grant,) = await granted(restarted, Batch("replica-2", 1, 10_000, (ASK,)))
    # What the first replica holds is not given a second time.
    assert (grant.amount, grant.refused) == (0, 60)
    await restarted.close()


async def granted(registry: Registry, batch: Batch) -> tuple[Grant, ...]:
    answer = await registry.grant(batch)
    assert not isinstance(answer, Fault)
    return answer


async def test_fault_of_this_software_is_not_taken_for_an_answer(registry: Registry) -> None:
    class Broken:
        def apply(self, store: object) -> None:
            raise KeyError("nonsense")

    with pytest.raises(KeyError):
        await registry.run(Broken())
