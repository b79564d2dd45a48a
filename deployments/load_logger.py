"""What vLLM says of its load after each step, kept until somebody asks."""

from __future__ import annotations

from typing import Any

from vllm.v1.metrics.loggers import StatLoggerBase

from deployments.load import EngineLoad, StepClock

_NULL_BLOCK = 1
"""vLLM gives a model without a KV cache one block, which is never used."""


class LoadLogger(StatLoggerBase):
    """Keeps the newest figures of one engine. Runs at every step, so it only takes them down.

    Args:
        vllm_config: Of the engine.
        engine_index: There is one engine in a replica.
    """

    def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
        del engine_index
        self._cache_config = vllm_config.cache_config
        self._running = 0
        self._kv_cache_usage = 0.0
        self._steps = StepClock()

    def record(
        self,
        scheduler_stats: Any,
        iteration_stats: Any,
        mm_cache_stats: Any = None,
        engine_idx: int = 0,
    ) -> None:
        """Called by vLLM after each step, and with no scheduler's figures where there was none."""
        del iteration_stats, mm_cache_stats, engine_idx
        if scheduler_stats is None:
            return
        running = self._running = scheduler_stats.num_running_reqs
        self._kv_cache_usage = scheduler_stats.kv_cache_usage
        waiting = scheduler_stats.num_waiting_reqs or scheduler_stats.num_skipped_waiting_reqs
        self._steps.stepped(running > 0 or waiting > 0)

    def log_engine_initialized(self) -> None:
        """Nothing to say."""

    def load(self, unfinished: int, queued_prompt_tokens: int, requests_total: int) -> EngineLoad:
        """The load as of now.

        Args:
            unfinished: Requests that the engine has in hand now. What is not in the batch of the last
                step waits; that step may be long ago, before some came or went.
            queued_prompt_tokens: See ``EngineLoad``.
            requests_total: See ``EngineLoad``.
        """
        running = min(self._running, unfinished)
        blocks = self._cache_config.num_gpu_blocks
        return EngineLoad(
            waiting=unfinished - running,
            running=running,
            queued_prompt_tokens=queued_prompt_tokens,
            kv_cache_usage=None if blocks is not None and blocks <= _NULL_BLOCK else self._kv_cache_usage,
            step_s=self._steps.average_s,
            requests_total=requests_total,
        )
