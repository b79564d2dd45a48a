"""OpenAI's own Python client against the running application: only ``base_url`` and ``api_key`` differ."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageFunctionToolCall
from pydantic import BaseModel

pytestmark = pytest.mark.integration

CAPITAL: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]
PARIS = "Paris is the capital of France."
STORY: list[Any] = [{"role": "user", "content": "Tell me a short story."}]
WEATHER: list[Any] = [{"role": "user", "content": "What is the weather in Beijing?"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city, today.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "Name of the city."}},
            "required": ["city"],
        },
    },
}


class Place(BaseModel):
    """A city and its country."""

    city: str
    country: str


def test_answer_names_the_model_as_asked(client: openai.OpenAI) -> None:
    for name in ("demo-chat", "qwen-max"):
        reply = client.chat.completions.create(model=name, messages=CAPITAL, temperature=0)
        assert reply.choices[0].message.content == PARIS
        assert reply.choices[0].finish_reason == "stop"
        assert reply.model == name
        assert reply.usage
        assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


async def test_async_clients_are_answered_side_by_side(async_client: openai.AsyncOpenAI) -> None:
    async def ask() -> str | None:
        reply = await async_client.chat.completions.create(model="qwen-plus", messages=CAPITAL, temperature=0)
        return reply.choices[0].message.content

    assert await asyncio.gather(*(ask() for _ in range(16))) == [PARIS] * 16


def test_stream_arrives_in_pieces_and_ends_with_the_usage(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="demo-chat", messages=STORY, temperature=0)
    stream = client.chat.completions.create(
        model="qwen-turbo",
        messages=STORY,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    *chunks, last = list(stream)

    assert "".join(c.choices[0].delta.content or "" for c in chunks) == whole.choices[0].message.content
    assert len(chunks) > 20
    assert {chunk.model for chunk in chunks} == {"qwen-turbo"}
    assert last.choices == []
    assert whole.usage
    assert last.usage
    assert last.usage.completion_tokens == whole.usage.completion_tokens


def test_stream_without_asking_has_no_usage(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="demo-chat", messages=CAPITAL, temperature=0, stream=True)
    chunks = list(stream)
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == PARIS


async def test_async_stream(async_client: openai.AsyncOpenAI) -> None:
    stream = await async_client.chat.completions.create(
        model="demo-chat", messages=CAPITAL, temperature=0, stream=True
    )
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == PARIS


def test_tool_is_called_and_its_result_told(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="qwen-max", messages=WEATHER, tools=[TOOL], temperature=0)
    call = (reply.choices[0].message.tool_calls or [])[0]
    assert isinstance(call, ChatCompletionMessageFunctionToolCall)
    assert reply.choices[0].finish_reason == "tool_calls"
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Beijing"})

    result: Any = {
        "role": "tool",
        "tool_call_id": call.id,
        "content": json.dumps({"temperature_c": 21, "condition": "sunny"}),
    }
    called: Any = reply.choices[0].message
    told = client.chat.completions.create(
        model="qwen-max",
        messages=[*WEATHER, called, result],
        tools=[TOOL],
        temperature=0,
    )
    text = told.choices[0].message.content or ""
    assert "Beijing" in text
    assert "21" in text
    assert "sunny" in text


def test_tool_call_streams(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="demo-chat", messages=WEATHER, tools=[TOOL], temperature=0, stream=True
    )
    name = arguments = ""
    for chunk in stream:
        for call in chunk.choices[0].delta.tool_calls or []:
            assert call.function
            name += call.function.name or ""
            arguments += call.function.arguments or ""
    assert (name, json.loads(arguments)) == ("get_weather", {"city": "Beijing"})


def test_tools_are_not_called_without_need(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="demo-chat", messages=CAPITAL, tools=[TOOL], temperature=0)
    assert reply.choices[0].message.content == PARIS
    assert not reply.choices[0].message.tool_calls


def test_tool_choice_none_keeps_the_tools_from_the_model(client: openai.OpenAI) -> None:
    def prompt_tokens(**tools: Any) -> int:
        reply = client.chat.completions.create(model="demo-chat", messages=CAPITAL, max_tokens=1, **tools)
        usage: openai.types.CompletionUsage = reply.usage
        return usage.prompt_tokens

    assert prompt_tokens(tools=[TOOL], tool_choice="none") == prompt_tokens()
    assert prompt_tokens(tools=[TOOL]) > prompt_tokens()


def test_named_tool_is_called_on_any_question(client: openai.OpenAI) -> None:
    strict: Any = {**TOOL, "function": {**TOOL["function"], "strict": True}}
    reply = client.chat.completions.create(
        model="demo-chat",
        messages=WEATHER,
        tools=[strict],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
        temperature=0,
        max_tokens=64,
    )
    call = (reply.choices[0].message.tool_calls or [])[0]
    assert isinstance(call, ChatCompletionMessageFunctionToolCall)
    assert "city" in json.loads(call.function.arguments)


def test_answer_follows_a_schema(client: openai.OpenAI) -> None:
    question: Any = [{"role": "user", "content": "Name a city and its country as JSON."}]
    reply = client.chat.completions.parse(
        model="demo-chat", messages=question, response_format=Place, temperature=0
    )
    assert reply.choices[0].message.parsed == Place(city="Paris", country="France")


def test_schema_binds_even_an_unwilling_answer(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="demo-chat",
        messages=CAPITAL,
        temperature=0,
        extra_body={"structured_outputs": {"choice": ["yes", "no"]}},
    )
    assert reply.choices[0].message.content in ("yes", "no")


def test_several_choices_with_logprobs_and_seed(client: openai.OpenAI) -> None:
    def ask() -> list[str | None]:
        reply = client.chat.completions.create(
            model="demo-chat",
            messages=[{"role": "user", "content": "Make something up about rivers."}],
            n=3,
            seed=7,
            temperature=1.5,
            max_tokens=12,
            logprobs=True,
            top_logprobs=2,
        )
        for choice in reply.choices:
            assert choice.logprobs
            for token in choice.logprobs.content or []:
                assert token.logprob <= 0
                assert len(token.top_logprobs) >= 2
        return [choice.message.content for choice in reply.choices]

    first = ask()
    assert len(first) == 3
    assert ask() == first


def test_stop_ends_the_answer_before_the_text(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="demo-chat", messages=CAPITAL, temperature=0, stop=[" capital"]
    )
    assert reply.choices[0].message.content == "Paris is the"


def test_max_tokens_cuts_the_answer_and_says_so(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="demo-chat", messages=STORY, temperature=0, max_tokens=5)
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage
    assert reply.usage.completion_tokens == 5


@pytest.mark.parametrize("encoding", ["float", "base64", None])
def test_embeddings_put_like_near_like(client: openai.OpenAI, encoding: Any) -> None:
    texts = ["How do I reset my password?", "Steps to recover access to your account", "Today's lunch menu"]
    options = {"encoding_format": encoding} if encoding else {}
    reply = client.embeddings.create(model="text-embedding-v3", input=texts, **options)
    vectors: Any = [item.embedding for item in reply.data]
    if encoding == "base64":
        assert all(isinstance(vector, str) for vector in vectors)
        return
    query, near, far = vectors

    def cosine(other: list[float]) -> float:
        return math.fsum(a * b for a, b in zip(query, other, strict=True))

    assert math.isclose(cosine(query), 1, abs_tol=1e-2)
    assert cosine(near) > cosine(far) + 0.1
    assert reply.model == "text-embedding-v3"
    assert reply.usage.prompt_tokens > 0


def test_embedding_of_a_single_short_word(client: openai.OpenAI) -> None:
    # One or two tokens in the engine's first step once ended its process (deployments/amx.py).
    reply = client.embeddings.create(model="demo-embedding", input="Hi")
    assert len(reply.data) == 1


def test_models_are_listed(client: openai.OpenAI) -> None:
    ids = {model.id for model in client.models.list()}
    assert {"demo-chat", "demo-vl", "demo-embedding", "demo-reranker", "qwen-max", "text-embedding-v3"} <= ids
    assert client.models.retrieve("qwen-max").id == "qwen-max"


def test_errors_arrive_as_the_client_knows_them(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="gpt-4o", messages=CAPITAL)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as too_long:
        client.chat.completions.create(
            model="demo-chat", messages=[{"role": "user", "content": "word " * 3000}]
        )
    assert too_long.value.code == "context_length_exceeded"
    with pytest.raises(openai.AuthenticationError) as no_key:
        client.with_options(api_key="sk-wrong").models.list()
    assert no_key.value.code == "invalid_api_key"
