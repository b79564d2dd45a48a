"""A stream that goes on while it is being judged, a bounded time behind the engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable

from deployments.call import StreamItem
from serve_app.filtering.classifier import Judge, LabelActions
from serve_app.filtering.held import HeldStream
from serve_app.filtering.track import Question
from serve_app.filtering.verdict import Verdict


class Hold:
    """Judges one streamed answer.

    Args:
        judge: Asks the classifier.
        actions: What is done about each label for this caller.
        choices: How many choices the answer has.
    """

    def __init__(self, judge: Judge, actions: LabelActions, choices: int) -> None:
        self._judge = judge
        self._actions = actions
        self._held = HeldStream(
            window_chars=judge.config.window_chars,
            hold_s=judge.config.hold_ms / 1000,
            choices=choices,
            fails_closed=judge.config.on_unavailable == "closed",
        )
        self._loop = asyncio.get_running_loop()
        self._moved = asyncio.Event()
        self._wanted = asyncio.Event()
        self._judging: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def verdict(self) -> Verdict:
        """What was found so far, and how much of what went out was judged."""
        return self._judge.verdict([self._held.found], self._held.scanned, self._held.unscanned)

    async def stream(self, items: AsyncGenerator[StreamItem, None]) -> AsyncGenerator[StreamItem, None]:
        """What of a stream may go out, in the order of its arrival.

        Closing it closes ``items``, and so does the end of the last choice by a block.

        Raises:
            FilterSilent: Something was not judged in time, and ``on_unavailable`` is closed.
        """
        reading = asyncio.create_task(self._read(items))
        reading.add_done_callback(self._end)
        try:
            while True:
                self._moved.clear()
                # Item by item: while the client takes one, the next may be blocked.
                for item in self._held.release(self._loop.time()):
                    self._wanted.clear()
                    yield item
                if self._held.is_empty and (self._held.stopped or reading.done()):
                    break
                await self._wait()
            if not self._held.stopped:
                await reading
        finally:
            if self._timer is not None:
                self._timer.cancel()
            await _cancelled([reading, *self._judging])
            await items.aclose()

    async def _wait(self) -> None:
        """Until something may go out, or the time of what is held first is up."""
        self._wanted.set()
        try:
            async with asyncio.timeout_at(self._held.expiry):
                await self._moved.wait()
        except TimeoutError:
            return

    async def _read(self, items: AsyncGenerator[StreamItem, None]) -> None:
        """Take what arrives, one item ahead of a client that is slower."""
        async for item in items:
            was_empty = self._held.is_empty
            self._ask(self._held.take(item, self._loop.time()))
            if self._held.stopped:
                return
            if was_empty or self._held.moves:
                self._moved.set()
            await self._wanted.wait()

    def _end(self, _: asyncio.Task[None]) -> None:
        self._ask(self._held.close())
        self._moved.set()

    def _ask(self, questions: Iterable[Question]) -> None:
        for question in questions:
            judging = asyncio.create_task(self._answer(question))
            self._judging.add(judging)
            judging.add_done_callback(self._judging.discard)
        self._set_timer()

    def _set_timer(self) -> None:
        """Not left to ``stream``, which stands still while the client does."""
        if self._timer is None and (due := self._held.due) is not None:
            self._timer = self._loop.call_at(due, self._close_due)

    def _close_due(self) -> None:
        self._timer = None
        self._ask(self._held.close_due(self._loop.time()))

    async def _answer(self, question: Question) -> None:
        self._held.settle(question, await self._judge.judge([question.text], self._actions))
        self._moved.set()


async def _cancelled(tasks: Iterable[asyncio.Task[None]]) -> None:
    cancelled = list(tasks)
    for task in cancelled:
        task.cancel()
    await asyncio.gather(*cancelled, return_exceptions=True)
