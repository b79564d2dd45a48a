"""Continuous batching without a model: which requests are in the batch, and when a step is over.

Everything happens on one event loop, so a method without ``await`` is atomic.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from vllm.exceptions import GenerationError, QueueOverflowError
from vllm.v1.engine.exceptions import EngineDeadError

from deployments.config import SimulationConfig
from deployments.load import EngineLoad, StepClock
from deployments.simulated.generation import Generation, Sequence

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class Counters:
    """What the engine has in hand and what it has done.

    Attributes:
        running: Sequences in the batch.
        waiting: Sequences that do not fit yet.
        tokens_made: Tokens of answers since the start.
        finished: Sequences that came to their end.
        aborted: Sequences whose caller went away first.
        kv_cache_free_tokens: What is left of the KV cache.
    """

    running: int
    waiting: int
    tokens_made: int
    finished: int
    aborted: int
    kv_cache_free_tokens: int


class Batch:
    """The engine's loop: a step makes one token for every running sequence.

    A waiting sequence joins at the beginning of a step, first come first served, if there is a place and
    its prompt and whole answer fit into the KV cache. (vLLM takes a request in when its prompt fits and
    preempts it later; here nothing is computed twice.) The step that takes it in also makes its first
    token. All tokens of a step become ready at once, when the step's time is over.

    Args:
        config: Times, limits and faults.

    Attributes:
        paused: Whether waiting sequences wait on, whatever is free.
    """

    def __init__(self, config: SimulationConfig) -> None:
        self._config = config
        self._running: list[Sequence] = []
        self._waiting: deque[Sequence] = deque()
        self._kv_free = config.kv_cache_tokens
        self._work = asyncio.Event()
        self._clock = StepClock()
        self._empty = asyncio.Event()
        self._empty.set()
        self.paused = False
        self._dead: Exception | None = None
        self._submitted = self._tokens_made = self._finished = self._aborted = 0

    @property
    def counters(self) -> Counters:
        """The figures as of now."""
        return Counters(
            len(self._running),
            len(self._waiting),
            self._tokens_made,
            self._finished,
            self._aborted,
            self._kv_free,
        )

    def load(self, requests_total: int) -> EngineLoad:
        """The load as of now, as vLLM's engine would tell it."""
        queued = (*self._waiting, *(sequence for sequence in self._running if not sequence.made))
        return EngineLoad(
            waiting=len(self._waiting),
            running=len(self._running),
            queued_prompt_tokens=sum(sequence.prompt_tokens for sequence in queued),
            kv_cache_usage=1 - self._kv_free / self._config.kv_cache_tokens,
            step_s=self._clock.average_s,
            requests_total=requests_total,
        )

    async def pause(self) -> None:
        """Take nothing more in, and return when nothing runs."""
        self.paused = True
        await self._empty.wait()

    def resume(self) -> None:
        """Take in again what waits."""
        self.paused = False
        self._work.set()

    def check(self) -> None:
        """Raise what the engine died of, if it is dead."""
        if self._dead is not None:
            raise self._dead

    def submit(self, lengths: Iterable[tuple[int, int]], *, streams: bool) -> Generation:
        """Queue a request.

        Args:
            lengths: For each sequence the tokens of its prompt and of its answer; each fits the KV cache.
            streams: Whether the caller wants to know of every token.

        Raises:
            QueueOverflowError: There are too many already; vLLM's own, a 503.
            EngineDeadError: The engine is dead.
        """
        self.check()
        generation = Generation(lengths, streams=streams)
        count, limit = len(generation.sequences), self._config.max_num_queued_reqs
        if limit is not None and len(self._running) + len(self._waiting) + count > limit:
            raise QueueOverflowError
        self._submitted += 1
        faults = self._config.faults
        if faults.fail_after_tokens is not None and self._submitted % faults.fail_every_requests == 0:
            for sequence in generation.sequences:
                sequence.fail_after(faults.fail_after_tokens)
        self._waiting.extend(generation.sequences)
        self._work.set()
        return generation

    def abort(self, generation: Generation) -> None:
        """Forget what is left of a request, at once; nothing where it is over."""
        for sequence in generation.sequences:
            if sequence.running or sequence.waiting:
                self._aborted += 1
                self._drop(sequence)

    async def run(self) -> None:
        """Make step after step, until cancelled or dead."""
        try:
            await self._steps()
        except Exception as error:
            logger.exception("The simulated engine's loop has failed")
            self._die(error)

    async def _steps(self) -> None:
        loop, faults = asyncio.get_running_loop(), self._config.faults
        due = loop.time()
        while self._dead is None:
            while not (self._running or (self._waiting and not self.paused)):
                self._work.clear()
                await self._work.wait()
            duration = self._begin_step()
            now = loop.time()
            # Counted from the last step's due time, so that a timer's lateness does not add up; but at most
            # one step is caught up.
            due = max(due, now - duration) + duration
            await asyncio.sleep(max(0, due - now) if duration else 0)
            self._end_step()
            self._clock.stepped(bool(self._running or self._waiting))
            if faults.hang_after_tokens is not None and self._tokens_made >= faults.hang_after_tokens:
                logger.error("The simulated engine hangs, as configured")
                await asyncio.Event().wait()
            if faults.die_after_tokens is not None and self._tokens_made >= faults.die_after_tokens:
                logger.error("The simulated engine dies, as configured")
                self._die(EngineDeadError())

    def _begin_step(self) -> float:
        """Take in what fits; the step's duration in seconds."""
        config, taken = self._config, 0
        while (
            self._waiting
            and not self.paused
            and len(self._running) < config.max_num_seqs
            and self._waiting[0].kv_tokens <= self._kv_free
        ):
            sequence = self._waiting.popleft()
            sequence.waiting, sequence.running = False, True
            self._kv_free -= sequence.kv_tokens
            self._running.append(sequence)
            self._empty.clear()
            taken += sequence.prompt_tokens
        running = len(self._running) * config.step_per_request_s
        return config.step_s + running + taken * config.prefill_per_token_s

    def _end_step(self) -> None:
        """Make the step's tokens known, all in this turn of the loop."""
        ended = []
        for sequence in self._running:
            before = sequence.made
            last = sequence.advance()
            if sequence.output_tokens:
                self._tokens_made += sequence.made - before
            if last:
                ended.append(sequence)
            else:
                sequence.generation.stepped()
        for sequence in ended:
            self._end(sequence)

    def _end(self, sequence: Sequence) -> None:
        if not sequence.running:
            return  # another answer to the same request has failed in this step
        generation = sequence.generation
        if sequence.fails:
            for each in generation.sequences:
                self._drop(each)
            generation.ended(GenerationError("The simulated engine failed this request, as configured."))
        else:
            self._drop(sequence)
            self._finished += 1
            generation.stepped()
            generation.ended()

    def _drop(self, sequence: Sequence) -> None:
        """Take it out of wherever it is, and give back its room."""
        if sequence.waiting:
            self._waiting.remove(sequence)
        elif sequence.running:
            self._running.remove(sequence)
            if not self._running:
                self._empty.set()
            self._kv_free += sequence.kv_tokens
        sequence.waiting = sequence.running = False

    def _die(self, error: Exception) -> None:
        self._dead = error
        for sequence in (*self._running, *self._waiting):
            self._drop(sequence)
            sequence.generation.ended(error)
