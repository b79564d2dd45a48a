"""The simulated engine speaks vLLM's form."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import struct
import time
from typing import Any

import pytest
from ray.llm._internal.serve.core.configs.openai_api_models import (
    ChatCompletionRequest,
    ChatCompletionResponse,
    CompletionResponse,
    EmbeddingCompletionRequest,
    ErrorResponse,
    ScoreRequest,
)

from deployments.simulated.engine import SimulatedEngine
from tests.unit.deployments.simulated.conftest import (
    Start,
    chat,
    chat_request,
    completion_request,
    stream,
    text_of,
)

pytestmark = [
    # vLLM reads the field too.
    pytest.mark.filterwarnings("ignore:max_tokens is deprecated:DeprecationWarning"),
]


async def test_chat_frames_are_byte_for_byte_as_vllm_0_29_writes_them(started: Start) -> None:
    request = chat_request(max_tokens=2, stream=True, stream_options={"include_usage": True}, request_id="r1")
    async with started(token_texts=[' "é"\n']) as engine:
        before = int(time.time())
        frames = [frame async for frame in engine.chat(request)]
    created = json.loads(frames[0].removeprefix("data: "))["created"]
    assert before <= created <= time.time()
    start = (
        f'data: {{"id":"chatcmpl-r1","object":"chat.completion.chunk","created":{created},"model":"sim/one",'
    )
    token = r'{"content":" \"é\"\n"}'
    assert frames == [
        start + '"choices":[{"index":0,"delta":{"role":"assistant","content":""},'
        '"logprobs":null,"finish_reason":null}],"prompt_token_ids":null,"prompt_text":null}\n\n',
        start + f'"choices":[{{"index":0,"delta":{token},'
        '"logprobs":null,"finish_reason":null,"token_ids":null}]}\n\n',
        start + f'"choices":[{{"index":0,"delta":{token},'
        '"logprobs":null,"finish_reason":"length","stop_reason":null,"token_ids":null}]}\n\n',
        start + '"choices":[],"usage":{"prompt_tokens":12,"total_tokens":14,"completion_tokens":2,'
        '"prompt_tokens_details":{"cached_tokens":0,"created_cache_tokens":0}},'
        '"system_fingerprint":"simulated"}\n\n',
        "data: [DONE]\n\n",
    ]


async def test_completion_frames_are_byte_for_byte_as_vllm_0_29_writes_them(started: Start) -> None:
    request = completion_request(
        max_tokens=1, stream=True, stream_options={"include_usage": True}, request_id="r1"
    )
    async with started(token_texts=[" a"]) as engine:
        frames = [frame async for frame in engine.completions(request)]
    created = json.loads(frames[0].removeprefix("data: "))["created"]
    start = f'data: {{"id":"cmpl-r1","object":"text_completion","created":{created},"model":"sim/one",'
    assert frames == [
        start + '"choices":[{"index":0,"text":" a","logprobs":null,"finish_reason":"length",'
        '"stop_reason":null,"prompt_token_ids":null,"token_ids":null}]}\n\n',
        start + '"choices":[],"usage":{"prompt_tokens":2,"total_tokens":3,"completion_tokens":1,'
        '"prompt_tokens_details":{"cached_tokens":0}},"system_fingerprint":"simulated"}\n\n',
        "data: [DONE]\n\n",
    ]


async def test_last_frame_of_a_stream_without_usage_carries_the_fingerprint(started: Start) -> None:
    async with started() as engine:
        plain = await stream(engine, max_tokens=3)
        counted = await stream(engine, max_tokens=3, stream_options={"include_usage": True})
    assert [event.get("system_fingerprint") for event in plain] == [None] * 3 + ["simulated"]
    assert [event.get("system_fingerprint") for event in counted] == [None] * 4 + ["simulated"]


async def test_stream_and_whole_answer_say_the_same(started: Start) -> None:
    async with started(default_output_tokens=40) as engine:
        events = await stream(engine, n=2)
        [whole] = await chat(engine, n=2)
    assert isinstance(whole, ChatCompletionResponse)
    assert [choice.message.content for choice in whole.choices] == [text_of(events, 0), text_of(events, 1)]
    assert {choice.finish_reason for choice in whole.choices} == {"stop"}
    assert text_of(events, 0) != text_of(events, 1)
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (12, 80)


async def test_same_request_gets_the_same_text_and_another_gets_another(started: Start) -> None:
    async def answers(**fields: Any) -> list[str]:
        async with started(**fields) as engine:
            asked = [("a", {}), ("b", {}), ("a", {"seed": 7})]
            return [text_of(await stream(engine, text, max_tokens=30, **more)) for text, more in asked]

    first = await answers()
    assert await answers() == first
    assert len(set(first)) == 3
    assert not set(await answers(seed=1)) & set(first)


async def test_length_is_max_tokens_and_else_the_default(started: Start) -> None:
    async with started(default_output_tokens=5) as engine:
        limited = await stream(engine, max_tokens=9)
        own = await stream(engine)
        [completed] = [item async for item in engine.completions(completion_request([[1, 2, 3], [4]], n=2))]
    assert [limited[-1]["choices"][0]["finish_reason"], len(limited)] == ["length", 1 + 9]
    assert [own[-1]["choices"][0]["finish_reason"], len(own)] == ["stop", 1 + 5]
    assert isinstance(completed, CompletionResponse)
    assert [choice.index for choice in completed.choices] == [0, 1, 2, 3]
    assert completed.usage.model_dump(include={"prompt_tokens", "completion_tokens", "total_tokens"}) == {
        "prompt_tokens": 4,
        "completion_tokens": 4 * 16,
        "total_tokens": 4 + 4 * 16,
    }


async def test_engine_can_refuse_to_start(started: Start) -> None:
    with pytest.raises(RuntimeError, match="fail_at_start"):
        async with started(faults={"fail_at_start": True}):
            pass


@pytest.mark.parametrize("fails", [False, True])
async def test_engine_takes_its_time_to_load_and_lets_others_work(started: Start, fails: bool) -> None:
    async def start() -> None:
        async with started(load_s=0.2, faults={"fail_at_start": fails}):
            pass

    begun = time.monotonic()
    starting = asyncio.create_task(start())
    await asyncio.sleep(0.05)
    assert not starting.done()
    [ended] = await asyncio.gather(starting, return_exceptions=True)
    assert time.monotonic() - begun >= 0.2
    assert isinstance(ended, RuntimeError) is fails


async def test_start_is_loud(started: Start, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("ray.serve")
    logger.addHandler(caplog.handler)
    try:
        async with started():
            pass
    finally:
        logger.removeHandler(caplog.handler)
    assert [record.levelname for record in caplog.records if "SIMULATED" in record.message] == ["WARNING"]


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"max_tokens": 60}, 400, "maximum context length"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"temperature": -1}, 400, "temperature"),
        ({"logprobs": True}, 501, "logprobs"),
        ({"echo": True}, 501, "echo"),
        ({"response_format": {"type": "json_object"}}, 501, "schema"),
    ],
)
@pytest.mark.parametrize("streams", [True, False])
async def test_what_cannot_be_done_is_refused(
    started: Start, fields: dict[str, Any], code: int, words: str, streams: bool
) -> None:
    async with started(max_model_len=64) as engine:
        [refused] = await chat(engine, stream=streams, **fields)
        assert engine.counters.tokens_made == 0
    assert isinstance(refused, ErrorResponse)
    assert refused.error.code == code
    assert words in refused.error.message


async def test_usage_in_every_frame_is_refused(started: Start) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    async with started() as engine:
        [refused] = await chat(engine, stream=True, stream_options=options)
    assert isinstance(refused, ErrorResponse)
    assert refused.error.code == 501


async def test_answer_without_a_maximum_fits_the_context(started: Start) -> None:
    async with started(max_model_len=32) as engine:
        [whole] = await chat(engine)
    assert whole.usage.total_tokens == 32


async def test_embeddings_are_unit_vectors_drawn_from_the_input(started: Start) -> None:
    async def embed(engine: SimulatedEngine, given: Any, **fields: Any) -> Any:
        request = EmbeddingCompletionRequest.model_validate({"input": given, "model": "sim/one"} | fields)
        [reply] = [item async for item in engine.embeddings(request)]
        return reply

    async with started(embedding_dimensions=16) as engine:
        reply = await embed(engine, ["a", "b", "a"])
        coded = await embed(engine, "a", encoding_format="base64")
        short = await embed(engine, [1, 2, 3], dimensions=4)
        assert engine.counters.tokens_made == 0
    vectors = [item.embedding for item in reply.data]
    assert vectors[0] == vectors[2] != vectors[1]
    assert [len(vector) for vector in vectors] == [16] * 3
    assert sum(value * value for value in vectors[0]) == pytest.approx(1, abs=1e-6)
    assert list(struct.unpack("<16f", base64.b64decode(coded.data[0].embedding))) == vectors[0]
    assert len(short.data[0].embedding) == 4
    assert short.usage.prompt_tokens == 3


async def test_scores_lie_between_0_and_1_and_belong_to_their_pair(started: Start) -> None:
    async def score(engine: SimulatedEngine, one: Any, other: Any) -> Any:
        request = ScoreRequest.model_validate({"text_1": one, "text_2": other, "model": "sim/one"})
        [reply] = [item async for item in engine.score(request)]
        return reply

    async with started() as engine:
        many = await score(engine, "q", ["a", "b", "a"])
        pairs = await score(engine, ["q", "r"], ["b", "b"])
        uneven = await score(engine, ["q", "r"], ["a", "b", "c"])
    values = [item.score for item in many.data]
    assert values[0] == values[2] != values[1]
    assert pairs.data[0].score == values[1] != pairs.data[1].score
    assert all(0 <= value < 1 for value in values)
    assert isinstance(uneven, ErrorResponse)
    assert uneven.error.code == 400


async def test_images_and_parts_of_messages_count(started: Start) -> None:
    parts = [
        {"type": "text", "text": "what"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    request = ChatCompletionRequest.model_validate(
        {"messages": [{"role": "user", "content": parts}], "model": "sim/one", "max_tokens": 1}
    )
    async with started() as engine:
        [whole] = [item async for item in engine.chat(request)]
    assert whole.usage.prompt_tokens == 10 + 1 + 256
