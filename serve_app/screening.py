"""The content filter on a request's way: its prompt, its answer, what was found, and how long it took."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from deployments.call import StreamItem
from serve_app.auth.principal import Principal
from serve_app.errors import ContentFiltered, InternalError
from serve_app.filtering import AnswerFilter, Classification, ContentFilter, Verdict
from serve_app.observation import Observation

_AT_ONCE_BYTES: Final = 16 * 1024
"""Longer prompts are read in a thread: a few milliseconds of the event loop are every stream's."""

_log = logging.getLogger("ray.serve")


class Screening:
    """Filters what goes in and what comes out: first by phrases and patterns, then by the classifier.

    Args:
        content_filter: Phrases and patterns.
        classification: What the classifier says.
        reload_interval_s: How often the lexicons are looked at for changes, seconds.
    """

    def __init__(
        self, content_filter: ContentFilter, classification: Classification, reload_interval_s: float
    ) -> None:
        self._filter = content_filter
        self._classification = classification
        self._reload_interval_s = reload_interval_s
        self._reloading: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look for changed lexicons."""
        self._reloading = asyncio.create_task(self._reload())

    async def close(self) -> None:
        """Stop looking."""
        if self._reloading is not None:
            self._reloading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reloading

    async def prompt(
        self, body: dict[str, Any], size_bytes: int, principal: Principal, seen: Observation
    ) -> dict[str, Any]:
        """The request as the engine may see it.

        Args:
            body: As the client sent it; stays as it is.
            size_bytes: Of the body.
            principal: Whose roles decide what is done about a match.
            seen: Notes the verdict.

        Raises:
            ContentFiltered: It must not be answered.
            FilterSilent: The classifier does not answer, and nothing passes without.
        """
        begun = time.monotonic()
        try:
            with _timed(seen):
                if size_bytes > _AT_ONCE_BYTES:
                    check = await asyncio.to_thread(self._filter.check_prompt, body, principal.roles)
                else:
                    check = self._filter.check_prompt(body, principal.roles)
                seen.prompt_verdict = check.verdict
                _refuse(check.verdict)
                judgement = await self._classification.prompt(check.body, principal.roles)
        finally:
            seen.prompt_filtered = begun, time.monotonic()
        seen.prompt_judgement = judgement.verdict
        if judgement.verdict is not None:
            _refuse(judgement.verdict)
        if judgement.silent is not None:
            raise judgement.silent
        return check.body

    async def answer(self, body: bytes, principal: Principal, seen: Observation) -> bytes:
        """A whole answer as the client may see it.

        Raises:
            FilterSilent: The classifier does not answer, and nothing passes without.
        """
        answer = self._filter.answer(principal.roles)
        judgement = self._classification.answer(principal.roles)
        begun = time.monotonic()
        try:
            with _timed(seen):
                return await judgement.body(answer.body(body))
        finally:
            seen.answer_filtered = begun, time.monotonic()
            seen.answer_verdict, seen.answer_judgement = answer.verdict, judgement.verdict

    async def stream(
        self, items: AsyncGenerator[StreamItem, None], choices: int, principal: Principal, seen: Observation
    ) -> AsyncGenerator[StreamItem, None]:
        """A stream's items as the client may see them; it ends when all of its choices are over.

        Args:
            items: As they come from the replica; closed with this generator.
            choices: How many the stream has.
            principal: Whose roles decide what is done about a match.
            seen: Notes the verdicts.

        Raises:
            FilterSilent: The classifier does not answer, and nothing passes without.
        """
        judgement = self._classification.answer(principal.roles, choices)
        shown = judgement.stream(self._matched(items, choices, principal, seen))
        try:
            async for item in shown:
                yield item
        finally:
            await shown.aclose()
            seen.answer_judgement = judgement.verdict

    async def _matched(
        self, items: AsyncGenerator[StreamItem, None], choices: int, principal: Principal, seen: Observation
    ) -> AsyncGenerator[StreamItem, None]:
        """A stream's items without the matches of phrases and patterns."""
        answer = self._filter.answer(principal.roles, choices)
        try:
            async for item in items:
                shown = self._shown(item, answer, seen)
                if shown:
                    yield shown
                if answer.stopped:
                    return
        finally:
            seen.answer_verdict = answer.verdict
            if seen.first_byte is not None:
                seen.answer_filtered = seen.first_byte, time.monotonic()
            await items.aclose()

    @staticmethod
    def _shown(item: StreamItem, answer: AnswerFilter, seen: Observation) -> StreamItem | None:
        if not isinstance(item, bytes):
            return item
        begun = time.perf_counter()  # not ``_timed``: this is once for each token
        try:
            return answer.feed(item)
        except ValueError as error:
            # Unread it must not pass; the client is told, as of any failure of the engine.
            raise InternalError(
                "The engine's answer cannot be read; the operator finds the reason by the request id "
                f"{seen.request_id}."
            ) from error
        finally:
            seen.filter_s += time.perf_counter() - begun

    async def _reload(self) -> None:
        problem: str | None = None
        while True:
            await asyncio.sleep(self._reload_interval_s)
            reload = await asyncio.to_thread(self._filter.reload)
            if reload.changed:
                _log.info("The lexicons have changed; version %s is in use", reload.version)
            if reload.problem is not None and reload.problem != problem:
                _log.error("Version %s of the lexicons stays in use: %s", reload.version, reload.problem)
            problem = reload.problem


def _refuse(verdict: Verdict) -> None:
    if verdict.blocked:
        raise ContentFiltered(
            f"The prompt was blocked by the content filter ({', '.join(verdict.blocking)}); "
            "take that out of it, or ask the operator which content your role may send."
        )


@contextmanager
def _timed(seen: Observation) -> Iterator[None]:
    begun = time.perf_counter()
    try:
        yield
    finally:
        seen.filter_s += time.perf_counter() - begun
