"""Usage of one replica until the registry has it."""

from __future__ import annotations

from serve_app.audit.replay import Unsettled
from serve_app.store import UsageRow
from serve_app.store.usage import FLUSH_MEMORY_S
from serve_app.usage.collector import UsageCollector

HOUR = 1_800_000_000 // 3600 * 3600
CALLER = ("research", "zhangsan", "key_1", "chat", "chat")


class Clock:
    """Seconds since 1970, as the test says."""

    def __init__(self) -> None:
        self.now = float(HOUR)

    def __call__(self) -> float:
        return self.now


def test_requests_of_an_hour_are_one_row() -> None:
    clock = Clock()
    usage = UsageCollector(clock)
    usage.add(*CALLER, 1, 2)
    clock.now += 3599
    usage.add(*CALLER, 10, 20)
    clock.now += 1
    usage.add(*CALLER, 0, 0)
    assert usage.pending().rows == (
        UsageRow(HOUR, *CALLER, 2, 11, 22),
        UsageRow(HOUR + 3600, *CALLER, 1, 0, 0),
    )


def test_flush_stays_the_same_until_it_is_acknowledged() -> None:
    usage = UsageCollector(Clock())
    usage.add(*CALLER, 1, 2)
    first = usage.pending()
    usage.add(*CALLER, 10, 20)
    assert usage.pending() is first
    usage.acknowledge(first)
    second = usage.pending()
    assert second.id != first.id
    assert second.rows == (UsageRow(HOUR, *CALLER, 1, 10, 20),)


def test_late_acknowledgement_of_an_old_flush_loses_nothing() -> None:
    usage = UsageCollector(Clock())
    usage.add(*CALLER, 1, 2)
    first = usage.pending()
    usage.acknowledge(first)
    usage.add(*CALLER, 10, 20)
    second = usage.pending()
    usage.acknowledge(first)
    assert usage.pending() is second


def test_empty_flush_holds_nothing_back() -> None:
    usage = UsageCollector(Clock())
    assert usage.pending().rows == ()
    usage.add(*CALLER, 1, 2)
    assert len(usage.pending().rows) == 1


class Chain:
    """A journal that the test holds in its hand."""

    def __init__(self) -> None:
        self.marks: list[str] = []
        self.safe = True

    def mark_usage(self, flush_id: str) -> None:
        self.marks.append(flush_id)

    async def is_safe(self) -> bool:
        return self.safe


async def test_flush_is_marked_once_and_sent_only_when_its_mark_is_safe() -> None:
    chain = Chain()
    usage = UsageCollector(Clock(), chain)
    assert usage.pending().rows == ()
    assert chain.marks == []
    usage.add(*CALLER, 1, 2)
    flush = usage.pending()
    assert usage.pending() is flush
    assert chain.marks == [flush.id]
    chain.safe = False
    assert not await usage.may_send(flush)
    chain.safe = True
    assert await usage.may_send(flush)


def test_flush_of_a_replica_that_died_is_sent_again_and_then_what_it_had_not_flushed() -> None:
    chain = Chain()
    usage = UsageCollector(Clock(), chain)
    lost, late = UsageRow(HOUR, *CALLER, 3, 30, 60), UsageRow(HOUR, *CALLER, 1, 10, 20)
    usage.resume(Unsettled("flush-7", HOUR - 5, (lost,), (late,)))
    usage.add(*CALLER, 1, 2)
    first = usage.pending()
    assert (first.id, first.rows) == ("flush-7", (lost,))
    assert chain.marks == []
    usage.acknowledge(first)
    assert usage.pending().rows == (UsageRow(HOUR, *CALLER, 2, 11, 22),)
    assert chain.marks == [usage.pending().id]


def test_flush_that_the_table_may_have_forgotten_is_not_sent_again() -> None:
    usage = UsageCollector(Clock())
    lost = UsageRow(HOUR, *CALLER, 3, 30, 60)
    usage.resume(Unsettled("flush-7", HOUR - FLUSH_MEMORY_S, (lost,), ()))
    assert usage.pending().rows == ()
