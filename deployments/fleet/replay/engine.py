"""A replica's engine in virtual time: prefill one after the other, decoding in one batch.

While a prompt is read the batch stands still, as without chunked prefill; with it vLLM does better. Each
request's progress is told by one clock that counts the batch's steps, so an arrival or an end costs
O(log batch), whatever the answers' length.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass

from deployments.fleet.replay.trace import Request

_NEARLY = 1e-6
"""Of a step: sums of floats come a little short."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast an engine is, and how much it takes.

    Attributes:
        prefill_per_token_s: For each token of a prompt.
        step_s: One step of decoding, a token for each running request.
        step_per_request_s: What each running request adds to a step.
        max_num_seqs: Requests in the batch at most.
        kv_cache_tokens: Prompts and answers in the batch, together, at most.
    """

    prefill_per_token_s: float
    step_s: float
    step_per_request_s: float
    max_num_seqs: int
    kv_cache_tokens: int


class Engine:
    """One engine.

    Args:
        speed: Of this model on its GPUs.
    """

    def __init__(self, speed: Speed) -> None:
        self._speed = speed
        self._at = 0.0
        self._prefill_until = 0.0
        self._steps = 0.0
        self._running: list[tuple[float, int, Request]] = []
        self._waiting: deque[Request] = deque()
        self._tokens = 0
        self._submitted = 0

    @property
    def ongoing(self) -> int:
        """Requests running and waiting."""
        return len(self._running) + len(self._waiting)

    @property
    def kv_cache_usage(self) -> float:
        """0 to 1; 1 where a request waits for room."""
        return 1.0 if self._waiting else self._tokens / self._speed.kv_cache_tokens

    def submit(self, request: Request, now: float) -> None:
        """Take a request in."""
        self._advance(now)
        self._waiting.append(request)
        self._admit(now)

    def next_end(self) -> float | None:
        """When the next request ends; None: nothing runs."""
        if not self._running:
            return None
        left = max(0.0, self._running[0][0] - self._steps)
        return max(self._at, self._prefill_until) + left * self._step_s

    def end(self, now: float) -> list[Request]:
        """The requests that have ended."""
        self._advance(now)
        ended = []
        while self._running and self._running[0][0] <= self._steps + _NEARLY:
            request = heapq.heappop(self._running)[2]
            self._tokens -= request.prompt_tokens + request.output_tokens
            ended.append(request)
        self._admit(now)
        return ended

    @property
    def _step_s(self) -> float:
        return self._speed.step_s + self._speed.step_per_request_s * len(self._running)

    def _advance(self, now: float) -> None:
        since = max(self._at, self._prefill_until)
        if now > since:
            self._steps += (now - since) / self._step_s
        self._at = now

    def _admit(self, now: float) -> None:
        while self._waiting and len(self._running) < self._speed.max_num_seqs:
            request = self._waiting[0]
            tokens = request.prompt_tokens + request.output_tokens
            if self._running and self._tokens + tokens > self._speed.kv_cache_tokens:
                return
            self._waiting.popleft()
            self._tokens += tokens
            self._submitted += 1
            started = max(now, self._prefill_until)
            self._prefill_until = started + request.prompt_tokens * self._speed.prefill_per_token_s
            heapq.heappush(self._running, (self._steps + request.output_tokens, self._submitted, request))
            request.first_token_at = self._prefill_until + self._step_s
