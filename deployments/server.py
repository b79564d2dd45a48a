"""The replica of a model: takes calls from the ingress and runs them on its engine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from functools import cached_property
from typing import Any

from ray.llm._internal.serve.core.configs.openai_api_models import (
    ChatCompletionRequest,
    CompletionRequest,
    ErrorResponse,
)
from ray.llm._internal.serve.core.protocol import RawRequestInfo
from ray.serve.llm import LLMConfig, LLMServer
from vllm.entrypoints.generate.base.protocol import StreamOptions
from vllm.entrypoints.serve.exception_handling.error_response import create_error_response

from deployments import reply
from deployments.call import DONE, Answer, Call, Reason, Refusal, StreamEnd, StreamItem, Task, Usage
from deployments.call_line import logged
from deployments.channel import Address, ChannelError, Outboxes, Writer
from deployments.engine import Engine
from deployments.load import EngineLoad
from deployments.meter import Tally
from deployments.reporter import Reporter
from deployments.request import EngineRequest, Refused, complaint, parse
from deployments.sleep import Level, Sleeper, SleepError
from deployments.timing import Stopwatch

logger = logging.getLogger("ray.serve")

_FOLLOW_S = 0.5
"""An engine that sleeps is woken so soon."""

_ENGINE_METHODS = {
    Task.CHAT: "chat",
    Task.COMPLETION: "completions",
    Task.EMBEDDING: "embeddings",
    Task.SCORE: "score",
    Task.RERANK: "score",
}


class ModelServer(LLMServer):
    """One replica of one model.

    The ingress calls ``answer`` or, for a stream, ``relay``. Whatever is wrong with a call comes back as a
    ``Refusal``, never as an exception: an exception across Ray would be logged with its traceback on
    both sides, for what a client can provoke at will.
    """

    _outboxes: Outboxes | None = None
    _sleep_level: Level | None = None
    _following: asyncio.Task[None] | None = None

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, llm_config: LLMConfig, *, sleep_level: Level | None = None, **options: Any
    ) -> None:
        """Return a replica whose engine has started.

        Args:
            llm_config: The model's.
            sleep_level: How deep the engine sleeps where the fleet wants it to; None: never.
            options: The server's own.
        """
        self._sleep_level = sleep_level
        await super().__init__(llm_config, **options)

    async def start(self) -> None:
        """Start the engine.

        Raises:
            Exception: It does not start; the fleet's board has been told why.
        """
        reporter = Reporter(self._llm_config.model_id)
        try:
            await super().start()
        except Exception as error:
            await reporter.failed(error)
            raise
        if self._sleep_level is not None and self._sleeper.unsupported is None:
            self._following = asyncio.create_task(self._follow(reporter, self._sleep_level))

    async def _follow(self, reporter: Reporter, level: Level) -> None:
        """Sleep and wake as the fleet's board says."""
        while True:
            asleep = self._sleeper.level is not None
            shall = await reporter.sleeping(asleep=asleep)
            try:
                if shall and not asleep:
                    await self._sleeper.sleep(level)
                elif asleep and not shall:
                    await self._sleeper.wake()
            except SleepError as error:
                logger.error("The engine does not sleep or wake as it should", extra={"why": str(error)})
            await asyncio.sleep(_FOLLOW_S)

    def _get_default_engine_class(self) -> type[Engine]:
        return Engine

    async def answer(self, call: Call, address: Address) -> Answer | Refusal:
        """Run a call to its end. Cut short, it sends what it has used to the address."""
        with logged(call, stream=False) as line:
            result = await self._answer(call, address)
            line.tell(result)
            return result

    async def _answer(self, call: Call, address: Address) -> Answer | Refusal:
        watch = Stopwatch()
        try:
            request = parse(call, self._llm_config.model_id)
            with self._metered(call, address):
                result = await anext(self._run(call, request))
        except Refused as refused:
            return refused.refusal
        if call.task is Task.RERANK:
            return reply.rerank(result, call.body, call.model, watch)
        return reply.answer(result, reply.ReplyFormat(self._llm_config.model_id, call.model), watch)

    async def relay(self, call: Call, address: Address) -> StreamEnd:
        """Run a call and send its frames over the token channel; returns when the last one is written.

        Open as long as the generation runs, so that Serve counts, drains and cancels it as one request.
        Cut short, it sends what it has used.
        """
        with logged(call, stream=True) as line:
            end = await self._relay(call, address)
            line.tell(end)
            return end

    async def _relay(self, call: Call, address: Address) -> StreamEnd:
        usage, refusal = None, None
        with self._metered(call, address) as (writer, tally):
            try:
                async with aclosing(self._stream(call)) as items:
                    async for item in items:
                        if isinstance(item, bytes):
                            writer.write(item)
                        elif isinstance(item, Usage):
                            usage = item
                            # With the last frames: a client that leaves now may cut off this call's result.
                            writer.settle(item)
                        else:
                            refusal = item
            except ChannelError as error:
                logger.warning("Stream given up", extra={"task": call.task.value, "why": str(error)})
                refusal = Refusal(Reason.FAILED, str(error))
            return StreamEnd(writer.sent, usage or tally.usage, refusal)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Serve's hook: the engine's load, for the policy that scales the models."""
        load: EngineLoad = self.engine.load()
        return load.to_stats()

    async def sleep(self, level: Level) -> str | None:
        """Put the engine to sleep when it has finished what it runs; calls wait until it is woken.

        Args:
            level: 1 keeps the weights in the host's memory, 2 reads them again on waking.

        Returns:
            Why it was skipped; None if the engine sleeps.

        Raises:
            SleepError: The engine is too busy, or did not do as it was told.
        """
        return None if await self._sleeper.sleep(level) else self._sleeper.unsupported

    async def wakeup(self) -> None:
        """Wake the engine.

        Raises:
            SleepError: It did not do as it was told.
        """
        await self._sleeper.wake()

    async def check_health(self) -> None:
        """Serve's hook; an engine that sleeps is healthy.

        Raises:
            Exception: The engine is dead, or neither asleep nor awake; Serve replaces the replica.
        """
        if self.engine is not None:
            self._sleeper.check()
        await super().check_health()

    @cached_property
    def _sleeper(self) -> Sleeper:
        return Sleeper(self.engine)

    @contextmanager
    def _metered(self, call: Call, address: Address) -> Iterator[tuple[Writer, Tally]]:
        """The way back to the ingress, and what the call has used, which is told there if it is cut short."""
        if self._outboxes is None:
            self._outboxes = Outboxes()
        with self._outboxes.open(address) as writer, self.engine.meter.open(call.request_id) as tally:
            try:
                yield writer, tally
            finally:
                # Not by the exception: vLLM turns it into an error response where a call does not stream.
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    writer.settle(tally.usage)

    async def _stream(self, call: Call) -> AsyncGenerator[StreamItem | Usage, None]:
        """Run a call and yield its frames as the engine makes them.

        The engine is always asked for the usage, since the ingress accounts for it; the client sees
        that frame only if it asked. The closing ``[DONE]`` is left to the ingress.
        """
        watch = Stopwatch()
        try:
            request = parse(call, self._llm_config.model_id)
            assert isinstance(request, ChatCompletionRequest | CompletionRequest)
            usage_asked = bool(request.stream_options and request.stream_options.include_usage)
            _ask_for_usage(request)
            form = reply.ReplyFormat(self._llm_config.model_id, call.model)
            async for text in self._run(call, request):
                frame = form.frame(text)
                if frame == DONE:
                    continue
                if reply.is_error_frame(frame):
                    raise _refused(reply.error_of_frame(frame), request, call)
                if reply.is_usage_frame(frame):
                    usage, frame = reply.read_usage_frame(frame, watch)
                    yield usage
                    if not usage_asked:
                        continue
                watch.mark_token()
                yield frame
        except Refused as refused:
            yield refused.refusal

    async def _run(self, call: Call, request: EngineRequest) -> AsyncIterator[Any]:
        """Run the engine; what it complains of is raised as ``Refused``."""
        info = RawRequestInfo(headers={"x-request-id": call.request_id})
        try:
            async for item in getattr(self.engine, _ENGINE_METHODS[call.task])(request, info):
                if isinstance(item, ErrorResponse):
                    raise _refused(item.error.model_dump(), request, call)
                yield item
        except Refused:
            raise
        except Exception as error:
            raise _refused(create_error_response(error).error.model_dump(), request, call) from error


def _ask_for_usage(request: ChatCompletionRequest | CompletionRequest) -> None:
    asked = request.stream_options.model_dump() if request.stream_options else {}
    request.stream_options = StreamOptions(**{**asked, "include_usage": True})


def _refused(error: dict[str, Any], request: EngineRequest, call: Call) -> Refused:
    """The engine's error, in the form of vLLM's error body, as what the caller is told."""
    code = int(error["code"])
    if code == 503:
        reason = Reason.OVERLOADED
    elif code < 500 or code == 501:
        reason = Reason.INVALID
    else:
        reason = Reason.FAILED
        # Here, where the exception is still at hand: the ingress tells the client the request id only.
        logger.error(
            "Engine failed", extra={"task": call.task.value, "engine_error": error["message"]}, exc_info=True
        )
    return Refused(complaint(reason, error["message"], error.get("param"), type(request)))
