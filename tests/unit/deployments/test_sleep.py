"""An engine is put to sleep when it is idle, and is believed only as far as it says that it sleeps."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from deployments.sleep import Sleeper, SleepError


class Engine:
    """Does as it is told, except what the test says."""

    sleep_unsupported: str | None = None

    def __init__(self, **answers: Any) -> None:
        self.calls: list[str] = []
        self.answers = answers
        self.idle = asyncio.Event()
        self.idle.set()
        self.paused = self.asleep = False

    def told(self, call: str, **options: Any) -> None:
        self.calls.append(" ".join([call, *(f"{value}" for value in options.values())]))
        if error := self.answers.get(f"{call}_error"):
            raise error

    async def pause(self, **options: Any) -> None:
        self.told("pause", **options)
        self.paused = True
        await self.idle.wait()

    async def resume(self) -> None:
        self.told("resume")
        self.paused = False

    async def is_paused(self) -> bool:
        return bool(self.answers.get("is_paused", self.paused))

    async def sleep(self, **options: Any) -> None:
        self.told("sleep", **options)
        self.asleep = True

    async def wakeup(self, **options: Any) -> None:
        self.told("wakeup", **options)
        self.asleep = self.paused = False

    async def is_sleeping(self) -> bool:
        return bool(self.answers.get("is_sleeping", self.asleep))

    async def collective_rpc(self, method: str) -> list[Any]:
        self.told(method)
        return [None]


async def test_engine_is_paused_before_it_sleeps() -> None:
    engine = Engine()
    sleeper = Sleeper(engine)
    assert await sleeper.sleep(1)
    assert sleeper.level == 1
    await sleeper.wake()
    assert sleeper.level is None
    assert engine.calls == ["pause wait", "sleep 1", "wakeup"]


async def test_weights_dropped_at_level_2_are_read_again_before_requests_run() -> None:
    engine = Engine()
    sleeper = Sleeper(engine)
    await sleeper.sleep(2)
    await sleeper.wake()
    assert engine.calls[2:] == ["wakeup ['weights']", "reload_weights", "wakeup ['kv_cache']"]


async def test_doing_it_twice_does_it_once() -> None:
    engine = Engine()
    sleeper = Sleeper(engine)
    await sleeper.wake()
    await asyncio.gather(sleeper.sleep(1), sleeper.sleep(1))
    await asyncio.gather(sleeper.wake(), sleeper.wake())
    assert engine.calls == ["pause wait", "sleep 1", "wakeup"]


async def test_unsupported_is_reported_and_skipped() -> None:
    engine = Engine()
    engine.sleep_unsupported = "it has no bed"
    sleeper = Sleeper(engine)
    assert sleeper.unsupported == "it has no bed"
    assert not await sleeper.sleep(1)
    await sleeper.wake()
    assert engine.calls == []
    assert sleeper.level is None


async def test_busy_engine_goes_on_and_can_sleep_later() -> None:
    engine = Engine()
    engine.idle.clear()
    sleeper = Sleeper(engine, idle_within_s=0.01)
    with pytest.raises(SleepError, match="when it has less to do"):
        await sleeper.sleep(1)
    assert engine.calls == ["pause wait", "resume"]
    sleeper.check()
    engine.idle.set()
    assert await sleeper.sleep(1)


async def test_caller_who_leaves_while_it_gets_idle_leaves_it_awake() -> None:
    engine = Engine()
    engine.idle.clear()
    going = asyncio.create_task(Sleeper(engine).sleep(1))
    await asyncio.sleep(0)
    going.cancel()
    await asyncio.wait([going])
    assert going.cancelled()
    assert engine.calls == ["pause wait", "resume"]


async def test_another_level_must_be_woken_first() -> None:
    sleeper = Sleeper(Engine())
    await sleeper.sleep(1)
    with pytest.raises(SleepError, match="wake it first"):
        await sleeper.sleep(2)
    with pytest.raises(SleepError, match="no level 3"):
        await sleeper.sleep(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"pause_error": RuntimeError("no")}, "does not pause: no"),
        ({"is_paused": False}, "says that it is not"),
        ({"sleep_error": RuntimeError("no")}, "does not fall asleep at level 1: no"),
        ({"is_sleeping": False}, "says that it is awake"),
        ({"wakeup_error": RuntimeError("no")}, "does not wake: no"),
        ({"is_sleeping": True}, "says that it sleeps"),
    ],
)
async def test_engine_that_does_not_do_as_told_must_be_restarted(
    answers: dict[str, Any], message: str
) -> None:
    sleeper = Sleeper(Engine(**answers))

    async def sleep_and_wake() -> None:
        await sleeper.sleep(1)
        await sleeper.wake()

    with pytest.raises(SleepError, match=f"{message}; the replica must be restarted"):
        await sleep_and_wake()
    with pytest.raises(SleepError, match=message):
        sleeper.check()
    with pytest.raises(SleepError, match=message):
        await sleeper.sleep(1)
