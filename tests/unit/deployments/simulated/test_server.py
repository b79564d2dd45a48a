"""The model's replica with a simulated engine in it, as Ray starts it, without Ray."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
import zmq
from ray.serve.llm import LLMConfig, ModelLoadingConfig

from deployments import build, reply
from deployments.call import DONE, Answer, Call, Reason, Refusal, Task, Usage
from deployments.channel import Address, Inbox
from deployments.checks import problems
from deployments.config import AcceleratorConfig, ModelConfig
from deployments.request import parse
from deployments.server import ModelServer
from deployments.sleep import Level, SleepError
from deployments.timing import Stopwatch

pytestmark = [
    # vLLM reads the field too.
    pytest.mark.filterwarnings("ignore:max_tokens is deprecated:DeprecationWarning"),
    # Ray's server has a destructor that nothing can await.
    pytest.mark.filterwarnings("ignore:coroutine 'LLMServer.__del__':RuntimeWarning"),
]


def model(**fields: Any) -> ModelConfig:
    given = {"id": "sim", "source": "simulated", "kind": "text", "simulation": {}} | fields
    return ModelConfig.model_validate(given)


async def server(config: ModelConfig) -> ModelServer:
    llm_config = LLMConfig(
        model_loading_config=ModelLoadingConfig(model_id=config.id), accelerator_config={"kind": "cpu"}
    )
    made: ModelServer = ModelServer.sync_init(llm_config, **build.engine_options(config))
    made.engine = made._engine_cls(llm_config)
    await made.engine.start()
    return made


def call(task: Task = Task.CHAT, **body: Any) -> Call:
    return Call(task, body, "asked", "r1")


MESSAGES = [{"role": "user", "content": "hello"}]
NOWHERE = Address("tcp://127.0.0.1:9", zmq.curve_keypair()[0], b"k" * 16)


async def test_answers_and_refuses_through_the_replica() -> None:
    replica = await server(model(max_model_len=64))
    answer = await replica.answer(call(messages=MESSAGES, max_tokens=3), NOWHERE)
    assert isinstance(answer, Answer)
    assert answer.usage == Usage(12, 3)
    body = json.loads(answer.body)
    assert (body["id"], body["model"]) == ("chatcmpl-r1", "asked")
    assert len(body["choices"][0]["message"]["content"].split()) == 3
    refusal = await replica.answer(call(messages=MESSAGES, max_tokens=64), NOWHERE)
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.CONTEXT_LENGTH
    await replica.engine.shutdown()


async def test_replica_reports_its_load_in_numbers() -> None:
    replica = await server(model(simulation={"max_num_seqs": 2, "step_s": 0.01}))
    idle = await replica.record_autoscaling_stats()
    calls = [Call(Task.CHAT, {"messages": MESSAGES, "max_tokens": 50}, "asked", f"r{n}") for n in range(6)]
    answers = [asyncio.ensure_future(replica.answer(each, NOWHERE)) for each in calls]
    async with asyncio.timeout(60):
        while replica.engine.counters.tokens_made < 4:  # noqa: ASYNC110  (a counter, not an event)
            await asyncio.sleep(0.005)
    busy = await replica.record_autoscaling_stats()
    await asyncio.gather(*answers)
    done = await replica.record_autoscaling_stats()
    await replica.engine.shutdown()
    assert all(type(value) in (int, float) for value in (*idle.values(), *busy.values()))
    assert [(each["running"], each["waiting"], each["requests_total"]) for each in (idle, busy, done)] == [
        (0, 0, 0),
        (2, 4, 6),
        (0, 0, 6),
    ]
    assert busy["queued_prompt_tokens"] == 4 * 12


@pytest.mark.parametrize("level", [1, 2])
async def test_calls_wait_while_the_replica_sleeps(level: Level) -> None:
    replica = await server(model(simulation={"step_s": 0.01, "wake_s": 0.1}))
    before = asyncio.ensure_future(replica.answer(call(messages=MESSAGES, max_tokens=5), NOWHERE))
    async with asyncio.timeout(60):
        while not replica.engine.counters.running:  # noqa: ASYNC110  (a counter, not an event)
            await asyncio.sleep(0.005)
    assert await replica.sleep(level) is None
    await asyncio.sleep(0)
    assert replica.engine.counters.finished == 1
    assert isinstance(await before, Answer)
    late = Call(Task.CHAT, {"messages": MESSAGES, "max_tokens": 5}, "asked", "r2")
    after = asyncio.ensure_future(replica.answer(late, NOWHERE))
    done, _ = await asyncio.wait([after], timeout=0.1)
    assert not done
    stats = await replica.record_autoscaling_stats()
    assert (stats["running"], stats["waiting"]) == (0, 1)
    await replica.check_health()
    begun = time.monotonic()
    await replica.wakeup()
    assert time.monotonic() - begun >= 0.1
    assert isinstance(await after, Answer)
    assert not await replica.is_sleeping()
    await replica.engine.shutdown()


async def test_replica_that_cannot_wake_is_unhealthy(monkeypatch: pytest.MonkeyPatch) -> None:
    replica = await server(model())
    await replica.sleep(1)

    async def fail(**_: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(replica.engine, "wakeup", fail)
    with pytest.raises(SleepError, match="out of memory"):
        await replica.wakeup()
    with pytest.raises(SleepError, match="must be restarted"):
        await replica.check_health()
    await replica.engine.shutdown()


async def test_weights_lost_in_sleep_and_not_read_again_are_noticed() -> None:
    replica = await server(model())
    await replica.sleep(2)
    with pytest.raises(RuntimeError, match="reload_weights was not called"):
        await replica.engine.wakeup()
    await replica.engine.shutdown()


async def test_full_engine_is_overloaded() -> None:
    replica = await server(model(simulation={"max_num_queued_reqs": 1}))
    refusal = await replica.answer(call(messages=MESSAGES, n=2), NOWHERE)
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.OVERLOADED
    await replica.engine.shutdown()


async def test_replica_can_read_the_frames() -> None:
    replica = await server(model(simulation={"faults": {"fail_after_tokens": 3, "fail_every_requests": 2}}))
    asked = call(messages=MESSAGES, max_tokens=5, stream=True, stream_options={"include_usage": True})
    form = reply.ReplyFormat("sim", "asked")

    async def frames() -> list[bytes]:
        return [form.frame(text) async for text in replica.engine.chat(parse(asked, "sim"))]

    whole, broken = await frames(), await frames()
    assert whole[-1] == broken[-1] == DONE
    assert [reply.is_usage_frame(frame) for frame in whole] == [False] * 6 + [True, False]
    assert reply.read_usage_frame(whole[-2], Stopwatch()) == (Usage(12, 5), whole[-2])
    assert all(b'"model":"asked"' in frame for frame in whole[:-1])
    assert [reply.is_error_frame(frame) for frame in broken] == [False] * 4 + [True, False]
    assert reply.error_of_frame(broken[-2])["code"] == 500
    await replica.engine.shutdown()


@pytest.mark.parametrize("stream", [False, True])
async def test_call_cut_short_tells_what_it_has_used(stream: bool) -> None:
    replica = await server(model(simulation={"step_s": 0.01, "faults": {}}))
    inbox = Inbox("127.0.0.1")
    with inbox.open(1 << 20) as frames:
        asked = call(messages=MESSAGES, max_tokens=5000, stream=stream)
        run = replica.relay(asked, frames.address) if stream else replica.answer(asked, frames.address)
        task = asyncio.ensure_future(run)
        async with asyncio.timeout(60):
            while replica.engine.counters.tokens_made < 5:  # noqa: ASYNC110  (a counter, not an event)
                await asyncio.sleep(0.005)
            task.cancel()
            used = await frames.settled
    generated = replica.engine.counters.tokens_made
    assert used == Usage(12, generated)
    assert 5 <= generated < 5000
    inbox.close()
    assert replica._outboxes
    replica._outboxes.close()
    await replica.engine.shutdown()


async def test_reranks_and_embeds_through_the_replica() -> None:
    replica = await server(model())
    ranked = await replica.answer(call(Task.RERANK, query="q", documents=["a", "b", "c"], top_n=2), NOWHERE)
    embedded = await replica.answer(call(Task.EMBEDDING, input=["a", "b"]), NOWHERE)
    assert isinstance(ranked, Answer)
    assert isinstance(embedded, Answer)
    scores = [result["relevance_score"] for result in json.loads(ranked.body)["results"]]
    assert len(scores) == 2
    assert scores == sorted(scores, reverse=True)
    assert len(json.loads(embedded.body)["data"][1]["embedding"]) == 384
    await replica.engine.shutdown()


def test_real_models_keep_the_servers_own_engine() -> None:
    assert build.engine_options(model(simulation=None)) == {}


def test_simulated_model_takes_no_engine_arguments_and_next_to_no_cpu() -> None:
    simulated = model(tensor_parallel_size=4, engine_kwargs={"max_num_seqs": 3})
    assert build.engine_kwargs(simulated) == {}
    assert build.bundles(simulated) == [{"CPU": 0.001}]
    assert build.deployment_options(simulated)["ray_actor_options"] == {"num_cpus": 0}
    assert "ray_actor_options" not in build.deployment_options(model(simulation=None))


def test_simulated_model_on_gpus_takes_the_places_of_a_real_one() -> None:
    simulated = model(accelerator="A10", tensor_parallel_size=2)
    assert build.bundles(simulated) == [{"GPU": 1.0, "accelerator_type:A10": 0.001}] * 2
    found = problems(simulated, {"A10": AcceleratorConfig(gpus_per_node=1, memory_gib=24)})
    assert [problem.path for problem in found if problem.severity == "error"] == ["tensor_parallel_size"]


def test_simulated_model_needs_no_checkpoint_and_warns() -> None:
    [warning] = problems(model(source="models/there-is-none"), {}, cpu_flags=frozenset())
    assert (warning.path, warning.severity) == ("simulation", "warning")


def test_context_that_the_kv_cache_cannot_hold_is_refused() -> None:
    found = problems(model(max_model_len=100, simulation={"kv_cache_tokens": 99}), {})
    assert [problem.path for problem in found if problem.severity == "error"] == [
        "simulation.kv_cache_tokens"
    ]
