"""A model's replica with vLLM's CPU engine in it, without Serve: what it says of its load, and its sleep.

It runs in a process of its own (``main`` below), with its own Ray, and writes down what it found.

A CPU has no sleep mode, but the engine's scheduler has: in the second part the engine is made to claim
support, so that pausing, queueing and resuming run for real. That memory is given back is not shown here.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from deployments.build import environment
from deployments.config import ModelConfig
from tests.ray_process import found_by

ROOT = Path(__file__).resolve().parents[2]
FOUND_WITHIN_S = 60
MODEL = ModelConfig.model_validate(
    {
        "id": "demo-chat",
        "source": "models/demo-chat",
        "kind": "text",
        "kv_cache_bytes": 64 << 20,
        "engine_kwargs": {"enforce_eager": True, "max_num_seqs": 2},
    }
)

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What ``main`` found out."""
    read: dict[str, Any] = json.loads(found_by("tests.integration.test_replica", environment(MODEL)))
    return read


def test_load_tells_who_runs_and_who_waits(found: dict[str, Any]) -> None:
    busy = found["busy"]
    assert (busy["running"], busy["waiting"], busy["requests_total"]) == (2, 4, 6)
    assert busy["queued_prompt_tokens"] == 4 * found["prompt_tokens"]
    assert 0 < busy["kv_cache_usage"] < 1
    assert 0 < busy["step_s"] < 1


def test_calls_that_left_count_for_nothing(found: dict[str, Any]) -> None:
    left = found["left"]
    assert (left["running"], left["waiting"], left["queued_prompt_tokens"]) == (0, 0, 0)


def test_rays_own_figures_stay(found: dict[str, Any]) -> None:
    assert {"RayPrometheusStatLogger", "LoadLogger"} <= set(found["loggers"])


def test_sleep_on_a_cpu_is_skipped_and_calls_go_on(found: dict[str, Any]) -> None:
    assert found["skipped"] == "vLLM's engine on the CPU has no sleep mode"
    assert found["skipped_asleep"] is False
    assert found["after_skipped"] == "Answer"


def test_busy_engine_is_left_alone(found: dict[str, Any]) -> None:
    assert "was not idle within" in found["busy_refused"]
    assert found["busy_answer"] == "Answer"


@pytest.mark.parametrize("level", ["1", "2"])
def test_calls_wait_in_the_queue_of_a_sleeping_engine(found: dict[str, Any], level: str) -> None:
    slept = found["levels"][level]
    assert (slept["asleep"], slept["healthy"], slept["woken"]) == (True, True, True)
    # One came while the engine finished what it ran, one while it slept.
    assert slept["answered_asleep"] == [False, False]
    assert slept["answers"] == ["Answer"] * 3
    assert slept["same_text"] is True


async def main() -> dict[str, Any]:
    """Start the replica, try it, and tell what happened."""
    import ray
    from ray.serve.llm import LLMConfig, ModelLoadingConfig

    from deployments import build
    from deployments.engine import Weights
    from deployments.server import ModelServer
    from deployments.weights import WeightsConfig

    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    config = LLMConfig(
        model_loading_config=ModelLoadingConfig(model_id=MODEL.id, model_source=build._source(MODEL)),
        engine_kwargs=build.engine_kwargs(MODEL),
        placement_group_config={"bundles": build.bundles(MODEL), "strategy": "STRICT_PACK"},
        accelerator_config={"kind": "cpu"},
        callback_config={
            "callback_class": Weights,
            "callback_kwargs": {"source": build._source(MODEL), "weights": WeightsConfig()},
        },
        log_engine_metrics=True,
    )
    replica: Any = ModelServer.sync_init(config)
    await replica.start()
    found = await _load(replica) | await _skipped_sleep(replica)
    type(replica.engine).sleep_unsupported = None
    found |= await _too_busy(replica)
    found["levels"] = {level: await _sleep(replica, level) for level in (1, 2)}
    ray.shutdown()
    return found


def _ask(replica: Any, name: str, tokens: int) -> asyncio.Future[Any]:
    from deployments.call import Call, Task
    from deployments.channel import Address

    messages = [{"role": "user", "content": "Tell me a short story."}]
    body = {"messages": messages, "max_tokens": tokens, "ignore_eos": True, "temperature": 0}
    nowhere = Address("tcp://127.0.0.1:9", b"k" * 40, b"k" * 16)
    call: asyncio.Future[Any] = asyncio.ensure_future(
        replica.answer(Call(Task.CHAT, body, MODEL.id, name), nowhere)
    )
    return call


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(FOUND_WITHIN_S):
        while not holds():  # noqa: ASYNC110  (figures, not an event)
            await asyncio.sleep(0.01)


async def _load(replica: Any) -> dict[str, Any]:
    load = replica.engine.load
    calls = [_ask(replica, f"load{number}", 300) for number in range(6)]
    await _until(lambda: load().running == 2 and load().waiting == 4 and load().step_s > 0)
    busy = asdict(load())
    answers = await asyncio.gather(*calls)
    leaving = [_ask(replica, f"leaves{number}", 800) for number in range(4)]
    await _until(lambda: load().running == 2)
    for call in leaving:
        call.cancel()
    await asyncio.wait(leaving)
    return {
        "busy": busy,
        "prompt_tokens": answers[0].usage.prompt_tokens,
        "left": asdict(load()),
        "loggers": [type(one).__name__ for one in replica.engine._engine_client.logger_manager.stat_loggers],
    }


async def _skipped_sleep(replica: Any) -> dict[str, Any]:
    return {
        "skipped": await replica.sleep(1),
        "skipped_asleep": await replica.is_sleeping(),
        "after_skipped": type(await _ask(replica, "after", 5)).__name__,
    }


async def _too_busy(replica: Any) -> dict[str, Any]:
    from deployments.sleep import Sleeper, SleepError

    call = _ask(replica, "busy", 800)
    await _until(lambda: replica.engine.load().running == 1)
    try:
        await Sleeper(replica.engine, idle_within_s=0.05).sleep(1)
        refused = "it slept"
    except SleepError as error:
        refused = str(error)
    return {"busy_refused": refused, "busy_answer": type(await call).__name__}


async def _sleep(replica: Any, level: Any) -> dict[str, Any]:
    first = _ask(replica, f"first{level}", 200)
    await _until(lambda: replica.engine.load().running == 1)
    sleeping = asyncio.ensure_future(replica.sleep(level))
    async with asyncio.timeout(FOUND_WITHIN_S):
        while not await replica.is_paused():  # each look is a call of the engine
            pass
    during = _ask(replica, f"during{level}", 200)
    skipped = await sleeping
    late = _ask(replica, f"late{level}", 200)
    await asyncio.wait([during, late], timeout=0.5)
    answered = [during.done(), late.done()]
    asleep = await replica.is_sleeping()
    await replica.check_health()
    await replica.wakeup()
    answers = await asyncio.gather(first, during, late)
    texts = {json.loads(answer.body)["choices"][0]["message"]["content"] for answer in answers}
    return {
        "asleep": skipped is None and asleep,
        "healthy": True,
        "answered_asleep": answered,
        "woken": not await replica.is_sleeping(),
        "answers": [type(answer).__name__ for answer in answers],
        "same_text": len(texts) == 1,
    }


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(asyncio.run(main())), encoding="utf-8")
