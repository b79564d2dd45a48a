"""Putting an engine to sleep and waking it: the GPU's memory is given back, the engine's process stays.

Asleep at level 1 the weights wait in the host's memory, at level 2 they are dropped and read again on
waking. What is asked of a sleeping engine waits in its queue until it is awake.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Literal, Protocol, TypeAlias, get_args

logger = logging.getLogger("ray.serve")

Level: TypeAlias = Literal[1, 2]

IDLE_WITHIN_S = 60.0
"""How long an engine may finish what it runs before it is too busy to sleep."""


class SleepError(RuntimeError):
    """An engine does not sleep or wake as it was told: what is wrong and what to do, in one line."""


class SleepingEngine(Protocol):
    """What an engine does about sleep, in ``ray.serve.llm``'s words."""

    @property
    def sleep_unsupported(self) -> str | None:
        """Why it has no sleep mode; None if it has one."""

    async def pause(self, **options: Any) -> None:
        """Take no more requests into the batch; with ``mode="wait"``, return when it is empty."""

    async def resume(self) -> None:
        """Take requests in again."""

    async def is_paused(self) -> bool:
        """Whether it takes none in."""

    async def sleep(self, **options: Any) -> None:
        """Give memory back, as far as ``level`` says; requests in the queue stay there."""

    async def wakeup(self, **options: Any) -> None:
        """Take the memory of ``tags`` again, or all of it; when it has all, resume."""

    async def is_sleeping(self) -> bool:
        """Whether any of its memory is given back, or it is paused."""

    async def collective_rpc(self, method: str) -> list[Any]:
        """Call a method of every worker."""


class Sleeper:
    """Puts one engine to sleep and wakes it, one thing at a time, and checks what the engine says of it.

    Args:
        engine: It must have been started.
        idle_within_s: How long it may finish what it runs.
    """

    def __init__(self, engine: SleepingEngine, idle_within_s: float = IDLE_WITHIN_S) -> None:
        self._engine = engine
        self._idle_within_s = idle_within_s
        self._level: Level | None = None
        self._broken: SleepError | None = None
        self._turn = asyncio.Lock()

    @property
    def unsupported(self) -> str | None:
        """Why the engine cannot sleep; None if it can."""
        return self._engine.sleep_unsupported

    @property
    def level(self) -> Level | None:
        """How deep it sleeps; None if it is awake."""
        return self._level

    def check(self) -> None:
        """Raise what has left the engine neither asleep nor awake: only a restart helps."""
        if self._broken is not None:
            raise self._broken

    async def sleep(self, level: Level) -> bool:
        """Let the engine finish what it runs, then put it to sleep; nothing where it sleeps already.

        Returns:
            Whether it sleeps; not where that is unsupported, which is logged and skipped.

        Raises:
            SleepError: It is too busy, or did not do as it was told.
        """
        if level not in get_args(Level):
            raise SleepError(f"there is no level {level}; use 1 or 2")
        if self.unsupported is not None:
            logger.warning("Sleep skipped", extra={"level": level, "why": self.unsupported})
            return False
        async with self._turn:
            self.check()
            if self._level is None:
                await self._pause()
                await self._fall_asleep(level)
            elif self._level != level:
                raise SleepError(f"the engine sleeps at level {self._level}, not {level}; wake it first")
        return True

    async def wake(self) -> None:
        """Wake the engine and let it take requests; nothing where it is awake.

        Raises:
            SleepError: It did not do as it was told.
        """
        async with self._turn:
            self.check()
            if self._level is None:
                return
            try:
                await self._wake(self._level)
                asleep = await self._engine.is_sleeping()
            except Exception as error:
                raise self._breaks(f"the engine does not wake: {error}") from error
            if asleep:
                raise self._breaks("the engine was woken and says that it sleeps")
            self._level = None

    async def _pause(self) -> None:
        """Until nothing runs: sleep would end it in the middle."""
        try:
            async with asyncio.timeout(self._idle_within_s):
                await self._engine.pause(mode="wait")
            paused = await self._engine.is_paused()
        except TimeoutError:
            await self._engine.resume()
            message = f"the engine was not idle within {self._idle_within_s:g} s and goes on"
            raise SleepError(f"{message}; put it to sleep when it has less to do") from None
        except asyncio.CancelledError:
            await self._engine.resume()
            raise
        except Exception as error:
            raise self._breaks(f"the engine does not pause: {error}") from error
        if not paused:
            raise self._breaks("the engine was paused and says that it is not")

    async def _fall_asleep(self, level: Level) -> None:
        try:
            await self._engine.sleep(level=level)
            asleep = await self._engine.is_sleeping()
        except Exception as error:
            raise self._breaks(f"the engine does not fall asleep at level {level}: {error}") from error
        if not asleep:
            raise self._breaks(f"the engine was put to sleep at level {level} and says that it is awake")
        self._level = level

    async def _wake(self, level: Level) -> None:
        if level == 1:
            await self._engine.wakeup()
            return
        # The engine resumes when it has all of its memory, so the weights are right by then.
        await self._engine.wakeup(tags=["weights"])
        await self._engine.collective_rpc("reload_weights")
        await self._engine.wakeup(tags=["kv_cache"])

    def _breaks(self, message: str) -> SleepError:
        hint = "the replica must be restarted; if it happens again, leave out the model's sleep_level"
        self._broken = SleepError(f"{message}; {hint}")
        return self._broken
