"""The simulated engine batches as an engine does, lets go of what nobody waits for, fails as it is told."""

from __future__ import annotations

import asyncio
import time

import pytest
from vllm.exceptions import GenerationError, QueueOverflowError
from vllm.v1.engine.exceptions import EngineDeadError

from deployments.load import EngineLoad
from deployments.simulated.engine import SimulatedEngine
from tests.unit.deployments.simulated.conftest import (
    Start,
    chat,
    chat_request,
    eventually,
    stream,
)

pytestmark = [
    # vLLM reads the field too.
    pytest.mark.filterwarnings("ignore:max_tokens is deprecated:DeprecationWarning"),
]


async def test_all_frames_of_a_step_are_ready_in_the_same_turn_of_the_loop(started: Start) -> None:
    turns: dict[int, set[int]] = {}
    turn = 0

    async def count() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    async def read(engine: SimulatedEngine, number: int) -> None:
        tokens = 0
        async for frame in engine.chat(chat_request(f"{number}", stream=True, max_tokens=4)):
            if '"token_ids"' in frame:
                tokens += 1
                turns.setdefault(tokens, set()).add(turn)

    async with started(step_s=0.02) as engine:
        counting = asyncio.create_task(count())
        await asyncio.gather(*(read(engine, number) for number in range(8)))
        counting.cancel()
    assert {len(seen) for seen in turns.values()} == {1}
    assert len(set().union(*turns.values())) == 4


async def test_paced_steps_take_their_time_however_many_requests_share_them(started: Start) -> None:
    async with started(step_s=0.02, prefill_per_token_s=0.01) as engine:
        begin = time.monotonic()
        await asyncio.gather(*(chat(engine, f"{number}", max_tokens=5) for number in range(4)))
        took = time.monotonic() - begin
    # Five steps; the first also reads four prompts of 11 tokens.
    least = 5 * 0.02 + 4 * 11 * 0.01
    assert least - 0.005 <= took < least + 0.3


async def test_more_than_max_num_seqs_wait_for_a_place(started: Start) -> None:
    async with started(max_num_seqs=2, step_s=0.005) as engine:
        running = asyncio.gather(*(chat(engine, max_tokens=20) for _ in range(5)))
        await eventually(lambda: engine.counters.waiting == 3)
        assert engine.counters.running == 2
        await running
        assert (engine.counters.finished, engine.counters.tokens_made) == (5, 100)


async def test_load_is_what_the_batch_has_in_hand(started: Start) -> None:
    # Each takes 11 + 20 tokens.
    async with started(max_num_seqs=2, step_s=0.01, kv_cache_tokens=1000) as engine:
        assert engine.load() == EngineLoad(kv_cache_usage=0)
        running = asyncio.gather(*(chat(engine, "a", max_tokens=20) for _ in range(6)))
        await eventually(lambda: engine.counters.tokens_made >= 10)
        load = engine.load()
        assert (load.running, load.waiting, load.queued_prompt_tokens) == (2, 4, 4 * 11)
        assert load.kv_cache_usage == pytest.approx(2 * 31 / 1000)
        assert 0.005 < load.step_s < 0.1
        await running
        after = engine.load()
    assert (after.running, after.waiting, after.queued_prompt_tokens, after.kv_cache_usage) == (0, 0, 0, 0)


async def test_requests_wait_until_the_kv_cache_holds_them(started: Start) -> None:
    # Each takes 11 + 20 tokens.
    async with started(kv_cache_tokens=70, step_s=0.005) as engine:
        running = asyncio.gather(*(chat(engine, "a", max_tokens=20) for _ in range(3)))
        await eventually(lambda: engine.counters.waiting == 1)
        assert (engine.counters.running, engine.counters.kv_cache_free_tokens) == (2, 70 - 2 * 31)
        await running
        assert engine.counters.kv_cache_free_tokens == 70


async def test_full_queue_refuses_with_vllms_503(started: Start) -> None:
    async with started(max_num_queued_reqs=1, step_s=0.01) as engine:
        first = asyncio.create_task(chat(engine, max_tokens=500))
        await eventually(lambda: engine.counters.running == 1)
        with pytest.raises(QueueOverflowError):
            await chat(engine)
        [refused] = await stream(engine)
        first.cancel()
    assert (refused["error"]["code"], refused["error"]["type"]) == (503, "Service Unavailable")


@pytest.mark.parametrize("streams", [True, False])
async def test_cancelled_request_frees_its_place_at_once(started: Start, streams: bool) -> None:
    async with started(step_s=0.005, max_num_seqs=1) as engine:
        first = asyncio.create_task(chat(engine, max_tokens=10_000, stream=streams))
        await eventually(lambda: engine.counters.running == 1)
        waiting = asyncio.create_task(chat(engine, max_tokens=10_000, stream=streams))
        await eventually(lambda: engine.counters.waiting == 1)
        waiting.cancel()
        first.cancel()
        await asyncio.wait([first, waiting])
        counters = engine.counters
    assert (counters.running, counters.waiting, counters.aborted) == (0, 0, 2)
    assert counters.kv_cache_free_tokens == 1_048_576


async def test_closed_stream_frees_its_place_at_once(started: Start) -> None:
    async with started(step_s=0.005) as engine:
        frames = engine.chat(chat_request(stream=True, max_tokens=10_000))
        await anext(frames)
        assert engine.counters.running == 1
        await frames.aclose()
        assert (engine.counters.running, engine.counters.aborted) == (0, 1)


async def test_failing_request_gets_what_was_made_and_then_vllms_error(started: Start) -> None:
    async with started(faults={"fail_after_tokens": 3, "fail_every_requests": 2}) as engine:
        whole = await stream(engine, max_tokens=6)
        broken = await stream(engine, max_tokens=6)
        with pytest.raises(GenerationError):
            [await chat(engine, max_tokens=6) for _ in range(2)]
        counters = engine.counters
    assert len(whole) == 1 + 6
    assert len(broken) == 1 + 3 + 1
    assert broken[-1]["error"]["code"] == 500
    assert counters.kv_cache_free_tokens == 1_048_576


async def test_request_that_fails_before_its_first_token_says_nothing_else(started: Start) -> None:
    async with started(faults={"fail_after_tokens": 0}) as engine:
        [only] = await stream(engine, n=2)
        assert only["error"]["type"] == "InternalServerError"
        assert (engine.counters.running, engine.counters.tokens_made) == (0, 0)


async def test_hanging_engine_looks_healthy_and_still_lets_go(started: Start) -> None:
    async with started(faults={"hang_after_tokens": 5}) as engine:
        request = asyncio.create_task(chat(engine, max_tokens=50, stream=True))
        await eventually(lambda: engine.counters.tokens_made == 5)
        done, _ = await asyncio.wait([request], timeout=0.05)
        assert not done
        await engine.check_health()
        request.cancel()
        await asyncio.wait([request])
        assert (engine.counters.running, engine.counters.tokens_made) == (0, 5)


async def test_dead_engine_fails_everything_and_its_health_check(started: Start) -> None:
    async with started(max_num_seqs=1, faults={"die_after_tokens": 5}) as engine:
        running = asyncio.create_task(stream(engine, max_tokens=50))
        waiting = asyncio.create_task(chat(engine, max_tokens=50))
        await asyncio.wait([running, waiting])
        assert running.result()[-1]["error"]["code"] == 500
        assert len(running.result()) == 1 + 5 + 1
        assert isinstance(waiting.exception(), EngineDeadError)
        with pytest.raises(EngineDeadError):
            await engine.check_health()
        with pytest.raises(EngineDeadError):
            await chat(engine)


async def test_slow_reader_still_gets_a_frame_for_each_token(started: Start) -> None:
    async with started() as engine:
        frames = engine.chat(chat_request(stream=True, max_tokens=50))
        first = [await anext(frames), await anext(frames)]
        await eventually(lambda: engine.counters.finished == 1)
        rest = [frame async for frame in frames]
    assert len(first + rest) == 1 + 50 + 1
