"""The simulated engine behind ``ray.serve.llm``'s engine interface, in place of vLLM's."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ray.llm._internal.serve.core.configs.llm_config import DiskMultiplexConfig, LLMConfig
from ray.llm._internal.serve.core.configs.openai_api_models import (
    ChatCompletionRequest,
    CompletionRequest,
    EmbeddingRequest,
    EmbeddingResponse,
    ErrorResponse,
    ScoreRequest,
    ScoreResponse,
    TranscriptionRequest,
)
from ray.llm._internal.serve.core.engine.protocol import LLMEngine
from ray.llm._internal.serve.core.protocol import RawRequestInfo
from vllm.entrypoints.serve.engine.protocol import UsageInfo
from vllm.exceptions import VLLMClientError

from deployments.config import SimulationConfig
from deployments.load import EngineLoad
from deployments.meter import Meter
from deployments.simulated import answer, frames, response
from deployments.simulated.answer import Tape, Writer
from deployments.simulated.batch import Batch, Counters
from deployments.simulated.frames import StreamForm
from deployments.simulated.generation import Generation
from deployments.simulated.plan import Choice, Plan, Planner, usage
from deployments.simulated.slumber import Slumber

logger = logging.getLogger("ray.serve")

_REFUSALS = (ValueError, NotImplementedError, VLLMClientError)
"""What is wrong with a request itself: it comes back as a response, as from Ray's engine."""


@dataclass(frozen=True, slots=True)
class _Task:
    """What differs between chats and completions."""

    prefix: str
    plan: Callable[[Any], Plan]
    form: StreamForm
    respond: Callable[..., Any]


class SimulatedEngine(Slumber, LLMEngine):
    """Answers in vLLM's form and at a configured pace, without a model.

    It batches as an engine does (``Batch``), so what is around it meets the same load: one loop, a token
    for each running request per step, limits and a KV cache to wait for. The answers are words without
    meaning: sampling parameters are checked, stop strings are not looked for; what would change the form
    of an answer (logprobs, schemas, forced tools, echo) is refused. Tokens that wait for a slow reader
    stay frames of their own, where vLLM would merge them: a cost per token is one per frame.

    Args:
        llm_config: Of the model; its id is all that is read.
        simulation: Pace, limits, text and faults.
        max_model_len: Prompt and answer together at most, tokens; default: what the KV cache holds.
    """

    def __init__(
        self, llm_config: LLMConfig, simulation: SimulationConfig, max_model_len: int | None = None
    ) -> None:
        super().__init__(Batch(simulation), simulation.wake_s)
        self._model_id: str = llm_config.model_id
        self._config = simulation
        context = min(max_model_len or simulation.kv_cache_tokens, simulation.kv_cache_tokens)
        self._planner = plans = Planner(context, simulation.default_output_tokens)
        self._chat = _Task("chatcmpl", plans.chat, frames.chat(self._model_id), response.chat)
        completion = frames.completion(self._model_id)
        self._completion = _Task("cmpl", plans.completion, completion, response.completion)
        self._tape = Tape(simulation.token_texts, simulation.seed)
        self.meter = Meter()
        self._loop: asyncio.Task[None] | None = None

    @property
    def counters(self) -> Counters:
        """What is in hand and what has been done."""
        return self._batch.counters

    def load(self) -> EngineLoad:
        """What is in hand, as the real engine tells it."""
        return self._batch.load(self.meter.taken)

    async def start(self) -> None:
        """Load for as long as configured, then begin to make steps.

        Raises:
            RuntimeError: The configuration wants the start to fail.
        """
        logger.warning(
            "SIMULATED ENGINE: %s runs no model, its answers mean nothing; for load tests only",
            self._model_id,
        )
        await asyncio.sleep(self._config.load_s)
        if self._config.faults.fail_at_start:
            raise RuntimeError("the simulated engine does not start: simulation.faults.fail_at_start is set")
        self._loop = asyncio.create_task(self._batch.run())

    async def shutdown(self) -> None:
        """Make no more steps."""
        if self._loop is not None:
            self._loop.cancel()

    async def check_health(self) -> None:
        """Raise what the engine died of, if it is dead."""
        self._batch.check()

    def routing_stats(self) -> dict[str, Any]:
        """Nothing that a router could use."""
        return {}

    async def reset_prefix_cache(self) -> None:
        """Do nothing: there is no prefix cache."""

    async def resolve_lora(self, lora_model: DiskMultiplexConfig) -> None:
        """Refuse: there is nothing to adapt.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(f"the simulated engine takes no adapters, so not {lora_model.model_id}")

    async def transcriptions(
        self, request: TranscriptionRequest, raw_request_info: RawRequestInfo | None = None
    ) -> AsyncGenerator[ErrorResponse, None]:
        """Refuse, as a response."""
        del request, raw_request_info
        yield response.refusal(NotImplementedError("The simulated engine hears nothing."))

    def chat(
        self, request: ChatCompletionRequest, raw_request_info: RawRequestInfo | None = None
    ) -> AsyncGenerator[Any, None]:
        """Answer a chat: frames where it streams, else one response; a response too where it is refused.

        Raises:
            Exception: vLLM's, where the engine is full, fails or is dead, and the answer does not stream.
        """
        del raw_request_info
        return (self._stream if request.stream else self._respond)(request, self._chat)

    def completions(
        self, request: CompletionRequest, raw_request_info: RawRequestInfo | None = None
    ) -> AsyncGenerator[Any, None]:
        """Complete prompts; the rest as for ``chat``."""
        del raw_request_info
        return (self._stream if request.stream else self._respond)(request, self._completion)

    async def embeddings(
        self, request: EmbeddingRequest, raw_request_info: RawRequestInfo | None = None
    ) -> AsyncGenerator[EmbeddingResponse | ErrorResponse, None]:
        """Draw a vector for each input; the same input gets the same. Raises as ``chat`` does."""
        del raw_request_info
        try:
            prompts = self._planner.embedding(request)
        except _REFUSALS as failure:
            yield response.refusal(failure)
            return
        used = await self._read([each.tokens for each in prompts], request.request_id)
        size = request.dimensions or self._config.embedding_dimensions
        vectors = [answer.embedding(each, size, self._config.seed) for each in prompts]
        answer_id = f"embd-{request.request_id}"
        yield response.embeddings(self._model_id, answer_id, vectors, request.encoding_format, used)

    async def score(
        self, request: ScoreRequest, raw_request_info: RawRequestInfo | None = None
    ) -> AsyncGenerator[ScoreResponse | ErrorResponse, None]:
        """Draw a score for each pair; the same pair gets the same. Raises as ``chat`` does."""
        del raw_request_info
        try:
            pairs = self._planner.pairs(request)
        except _REFUSALS as failure:
            yield response.refusal(failure)
            return
        used = await self._read([one.tokens + other.tokens for one, other in pairs], request.request_id)
        values = [answer.score(one, other, self._config.seed) for one, other in pairs]
        yield response.scores(self._model_id, f"score-{request.request_id}", values, used)

    async def _respond(
        self, request: ChatCompletionRequest | CompletionRequest, task: _Task
    ) -> AsyncGenerator[Any, None]:
        try:
            plan = task.plan(request)
        except _REFUSALS as failure:
            yield response.refusal(failure)
            return
        created = int(time.time())
        await self._finish(plan.lengths, request.request_id)
        texts = [
            self._tape.text(self._start(plan, choice), choice.output_tokens, plan.ending.finish_reason)
            for choice in plan.choices
        ]
        yield task.respond(self._model_id, f"{task.prefix}-{request.request_id}", created, texts, plan)

    async def _stream(
        self, request: ChatCompletionRequest | CompletionRequest, task: _Task
    ) -> AsyncGenerator[Any, None]:
        try:
            plan = task.plan(request)
        except _REFUSALS as failure:
            yield response.refusal(failure)
            return
        form = task.form.begin(f"{task.prefix}-{request.request_id}", int(time.time()), plan.ending)
        try:
            with self._submitted(plan.lengths, request.request_id, streams=True) as generation:
                writers = [
                    Writer(sequence, form.choice(choice.index), self._tape, self._start(plan, choice))
                    for sequence, choice in zip(generation.sequences, plan.choices, strict=True)
                ]
                begun = over = False
                while not over:
                    await generation.progress()
                    over = generation.over
                    if not begun and generation.begun:
                        begun = True
                        for frame in form.opening(len(writers)):
                            yield frame
                    for writer in writers:
                        for frame in writer.ready():
                            yield frame
                if generation.error is not None:
                    raise generation.error
            if plan.ending.include_usage:
                yield form.usage(plan.usage)
        except Exception as failure:
            # As vLLM does, even where it is the first frame.
            yield frames.error(failure)
        yield frames.DONE

    def _start(self, plan: Plan, choice: Choice) -> int:
        return self._tape.start(choice.prompt, choice.index, plan.seed)

    @contextlib.contextmanager
    def _submitted(
        self, lengths: Iterable[tuple[int, int]], request_id: str, *, streams: bool
    ) -> Iterator[Generation]:
        """A request in the batch; however its caller goes, its places are free afterwards."""
        generation = self._batch.submit(lengths, streams=streams)
        try:
            yield generation
        finally:
            self._batch.abort(generation)
            for sequence in generation.sequences:
                self.meter.note(f"sim-{request_id}", sequence.prompt_tokens, sequence.made)

    async def _finish(self, lengths: Iterable[tuple[int, int]], request_id: str) -> None:
        with self._submitted(lengths, request_id, streams=False) as generation:
            await generation.progress()
        if generation.error is not None:
            raise generation.error

    async def _read(self, prompt_tokens: Sequence[int], request_id: str) -> UsageInfo:
        await self._finish(((tokens, 0) for tokens in prompt_tokens), request_id)
        return usage(sum(prompt_tokens))
