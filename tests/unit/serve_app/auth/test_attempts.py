"""Failed attempts are slowed."""

from __future__ import annotations

import asyncio

from serve_app.auth.attempts import Attempts
from serve_app.auth.config import AttemptsConfig
from tests.unit.serve_app.auth.conftest import Clock


async def fail(attempts: Attempts, address: str | None, times: int) -> None:
    for _ in range(times):
        await attempts.fail(address)


async def test_first_failures_are_answered_at_once_and_then_ever_later(
    attempts: Attempts, waits: list[float]
) -> None:
    await fail(attempts, "192.0.2.1", 10)
    assert waits == []
    await fail(attempts, "192.0.2.1", 7)
    assert waits == [0.5, 1, 2, 4, 5, 5, 5]


async def test_addresses_are_counted_apart(attempts: Attempts, waits: list[float]) -> None:
    await fail(attempts, "192.0.2.1", 10)
    await fail(attempts, "192.0.2.2", 10)
    assert waits == []


async def test_addresses_of_one_ipv6_site_count_as_one(attempts: Attempts, waits: list[float]) -> None:
    for host in range(11):
        await attempts.fail(f"2001:db8::{host:x}")
    await attempts.fail("2001:db8:0:1::1")
    assert len(waits) == 1
    assert len(attempts) == 2


async def test_ipv4_in_ipv6_is_the_same_address(attempts: Attempts, waits: list[float]) -> None:
    await fail(attempts, "192.0.2.1", 10)
    await attempts.fail("::ffff:192.0.2.1")
    assert len(waits) == 1


async def test_unknown_addresses_count_as_one(attempts: Attempts, waits: list[float]) -> None:
    await fail(attempts, None, 10)
    await attempts.fail("no address")
    assert len(waits) == 1


async def test_address_that_stops_is_forgiven(attempts: Attempts, clock: Clock, waits: list[float]) -> None:
    await fail(attempts, "192.0.2.1", 10)
    clock.now += 61
    await fail(attempts, "192.0.2.1", 10)
    assert waits == []


async def test_table_is_bounded_and_forgets_the_longest_quiet() -> None:
    attempts = Attempts(AttemptsConfig(max_failures=1, delay_s=0, max_tracked_addresses=3))
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.3", "192.0.2.4"):
        await attempts.fail(address)
    assert len(attempts) == 3


async def test_only_so_many_refusals_wait_at_once(clock: Clock) -> None:
    gate = asyncio.Event()
    waiting = 0

    async def sleep(_: float) -> None:
        nonlocal waiting
        waiting += 1
        await gate.wait()

    attempts = Attempts(AttemptsConfig(max_failures=1, max_waiting=5), clock=clock, sleep=sleep)
    failing = [asyncio.create_task(attempts.fail("192.0.2.1")) for _ in range(20)]
    # The first is not to wait yet; of the others, 5 do and 14 are over the bound.
    done, held = await asyncio.wait(failing, timeout=0.2)
    assert (len(done), len(held), waiting) == (15, 5, 5)

    next(iter(held)).cancel()  # a client that goes away frees its place
    await asyncio.wait(held, timeout=0.05)
    another = asyncio.create_task(attempts.fail("192.0.2.1"))
    await asyncio.wait([another], timeout=0.05)
    assert waiting == 6
    gate.set()
    await asyncio.gather(*held, another, return_exceptions=True)
