"""What vLLM says after each step, as the load of its engine."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from vllm.v1.metrics.loggers import StatLoggerBase
from vllm.v1.metrics.stats import SchedulerStats

from deployments.load import EngineLoad
from deployments.load_logger import LoadLogger

MOST_PER_STEP_S = 5e-6


def logger(blocks: int | None = 100) -> LoadLogger:
    return LoadLogger(SimpleNamespace(cache_config=SimpleNamespace(num_gpu_blocks=blocks)))


def stats(running: int, waiting: int = 0, usage: float = 0.0) -> SchedulerStats:
    return SchedulerStats(num_running_reqs=running, num_waiting_reqs=waiting, kv_cache_usage=usage)


def test_newest_step_counts() -> None:
    log = logger()
    assert isinstance(log, StatLoggerBase)
    log.record(stats(1), None)
    log.record(stats(2, 4, 0.25), None, mm_cache_stats=None, engine_idx=0)
    # As vLLM calls it for what no step has made, such as an error.
    log.record(None, None)
    load = log.load(unfinished=6, queued_prompt_tokens=40, requests_total=7)
    assert load == EngineLoad(4, 2, 40, 0.25, load.step_s, 7)
    assert load.step_s > 0


def test_request_that_came_after_the_last_step_waits() -> None:
    log = logger()
    log.record(stats(0), None)
    load = log.load(unfinished=3, queued_prompt_tokens=30, requests_total=3)
    assert (load.waiting, load.running) == (3, 0)


def test_request_that_left_after_the_last_step_does_not_run() -> None:
    log = logger()
    log.record(stats(2), None)
    load = log.load(unfinished=0, queued_prompt_tokens=0, requests_total=2)
    assert (load.waiting, load.running) == (0, 0)


@pytest.mark.parametrize(("blocks", "usage"), [(1, None), (100, 0.5), (None, 0.5)])
def test_model_without_a_kv_cache_has_no_usage(blocks: int | None, usage: float | None) -> None:
    log = logger(blocks)
    log.record(stats(1, usage=0.5), None)
    assert log.load(1, 0, 1).kv_cache_usage == usage


def test_step_costs_next_to_nothing() -> None:
    log, one = logger(), stats(8, 2, 0.5)
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(2000):
            log.record(one, None, mm_cache_stats=None, engine_idx=0)
        best = min(best, (time.perf_counter() - begun) / 2000)
    assert best < MOST_PER_STEP_S
