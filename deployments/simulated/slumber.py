"""The sleep of a simulated engine: nothing to give back, but the same answers after the same calls."""

from __future__ import annotations

import asyncio
from typing import Any

from deployments.simulated.batch import Batch

_MEMORY = frozenset({"weights", "kv_cache"})


class Slumber:
    """Sleep mode in ``ray.serve.llm``'s words, over a batch; to be mixed into an engine.

    Args:
        batch: Is paused and resumed.
        wake_s: Time that waking takes, seconds.
    """

    sleep_unsupported: str | None = None

    def __init__(self, batch: Batch, wake_s: float) -> None:
        self._batch = batch
        self._wake_s = wake_s
        self._given_back: frozenset[str] = frozenset()
        self._weights_lost = False

    async def pause(self, mode: str = "abort", clear_cache: bool = True) -> None:
        """Take no more requests into the batch and return when it is empty.

        Raises:
            NotImplementedError: The mode is not ``wait``.
        """
        del clear_cache
        if mode != "wait":
            raise NotImplementedError(f"the simulated engine pauses in mode wait only, not {mode}")
        await self._batch.pause()

    async def resume(self) -> None:
        """Take requests in again."""
        self._batch.resume()

    async def is_paused(self) -> bool:
        """Whether none is taken in."""
        return self._batch.paused

    async def sleep(self, level: int = 1) -> None:
        """Finish what runs, then sleep."""
        await self._batch.pause()
        self._given_back, self._weights_lost = _MEMORY, level == 2

    async def wakeup(self, tags: list[str] | None = None) -> None:
        """Take memory again; with all of it, be awake.

        Raises:
            RuntimeError: The weights were lost and not read again; the real engine would make nonsense.
        """
        still = self._given_back - set(tags or _MEMORY)
        if not still:
            if self._weights_lost:
                raise RuntimeError("the weights are lost after level 2, and reload_weights was not called")
            await asyncio.sleep(self._wake_s)
            self._batch.resume()
        self._given_back = still

    async def is_sleeping(self) -> bool:
        """Whether it sleeps or is paused, as vLLM answers."""
        return bool(self._given_back) or self._batch.paused

    async def collective_rpc(self, method: str, *_: Any, **__: Any) -> list[Any]:
        """Read the weights again.

        Raises:
            NotImplementedError: The method is another.
        """
        if method != "reload_weights":
            raise NotImplementedError(f"the simulated engine has no workers to call {method}")
        if "weights" not in self._given_back:
            self._weights_lost = False
        return [None]
