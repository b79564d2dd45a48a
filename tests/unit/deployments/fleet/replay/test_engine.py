"""A replica's engine in virtual time."""

from __future__ import annotations

import pytest

from deployments.fleet.replay.engine import Engine, Speed
from deployments.fleet.replay.trace import Request

SPEED = Speed(0.001, 0.01, 0.0, max_num_seqs=2, kv_cache_tokens=1000)


def drain(engine: Engine) -> list[tuple[float, Request]]:
    """Run to the end: when each request ended."""
    ends = []
    while (at := engine.next_end()) is not None:
        ends += [(at, request) for request in engine.end(at)]
    return ends


def test_first_token_comes_after_the_prompt_and_a_step() -> None:
    engine, request = Engine(SPEED), Request(0, "m", 100, 50)
    engine.submit(request, 0)
    assert request.first_token_at == pytest.approx(0.11)
    assert drain(engine)[0][0] == pytest.approx(0.1 + 50 * 0.01)


def test_prompts_are_read_one_after_the_other() -> None:
    engine, requests = Engine(SPEED), [Request(0, "m", 100, 50) for _ in range(2)]
    for each in requests:
        engine.submit(each, 0)
    assert requests[1].first_token_at == pytest.approx(0.21)


def test_full_batch_makes_the_next_wait() -> None:
    engine = Engine(SPEED)
    requests = [Request(0, "m", 100, output) for output in (10, 20, 5)]
    for each in requests:
        engine.submit(each, 0)
    assert engine.kv_cache_usage == 1.0
    ends = {request.output_tokens: at for at, request in drain(engine)}
    assert requests[2].first_token_at == pytest.approx(ends[10] + 0.1 + 0.01)
    assert engine.ongoing == 0
    assert engine.kv_cache_usage == 0


def test_full_kv_cache_makes_the_next_wait() -> None:
    engine, second = Engine(SPEED), Request(0, "m", 500, 100)
    engine.submit(Request(0, "m", 500, 100), 0)
    engine.submit(second, 0)
    assert second.first_token_at is None
    assert len(drain(engine)) == 2
