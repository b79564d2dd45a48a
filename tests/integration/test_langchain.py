"""LangChain's OpenAI classes with ``base_url`` and ``api_key`` only."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, SecretStr

from tests.integration.conftest import Application

pytestmark = pytest.mark.integration


class Place(BaseModel):
    """A city and its country."""

    city: str
    country: str


@tool
def get_weather(city: str) -> str:
    """The weather in a city, today."""
    return f'{{"temperature_c": 21, "condition": "sunny", "city": "{city}"}}'


@pytest.fixture
def chat(application: Application) -> ChatOpenAI:
    return ChatOpenAI(
        model="qwen-plus",
        base_url=f"{application.url}/v1",
        api_key=SecretStr(application.token),
        temperature=0,
        max_retries=0,
    )


def test_invoke(chat: ChatOpenAI) -> None:
    reply = chat.invoke("What is the capital of France?")
    assert reply.content == "Paris is the capital of France."
    assert isinstance(reply, AIMessage)
    assert reply.usage_metadata
    assert reply.usage_metadata["output_tokens"] > 0


def test_stream(chat: ChatOpenAI) -> None:
    pieces = [str(chunk.content) for chunk in chat.stream("中国的首都是哪里？")]
    assert "".join(pieces) == "中国的首都是北京。"
    assert len([piece for piece in pieces if piece]) > 1


async def test_batch_runs_side_by_side(chat: ChatOpenAI) -> None:
    replies = await chat.abatch(["Who wrote Hamlet?", "What is Qwen?"])
    assert [reply.content for reply in replies] == [
        "William Shakespeare wrote Hamlet.",
        "Qwen is a family of language models made by Alibaba Cloud.",
    ]


def test_tool_is_called_and_its_result_told(chat: ChatOpenAI) -> None:
    question = HumanMessage("What is the weather in Beijing?")
    with_tool = chat.bind_tools([get_weather])
    reply = with_tool.invoke([question])
    assert isinstance(reply, AIMessage)
    (call,) = reply.tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Beijing"})

    result = ToolMessage('{"temperature_c": 21, "condition": "sunny"}', tool_call_id=call["id"])
    told = with_tool.invoke([question, reply, result])
    assert "21" in str(told.content)


def test_tool_call_streams(chat: ChatOpenAI) -> None:
    gathered: Any = None
    for chunk in chat.bind_tools([get_weather]).stream("What is the weather in Beijing?"):
        assert isinstance(chunk, AIMessageChunk)
        gathered = chunk if gathered is None else gathered + chunk
    assert gathered.tool_calls[0]["args"] == {"city": "Beijing"}


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_structured_output(chat: ChatOpenAI, method: Any) -> None:
    structured = chat.with_structured_output(Place, method=method)
    assert structured.invoke("Name a city and its country as JSON.") == Place(city="Paris", country="France")


def test_embeddings_put_like_near_like(application: Application) -> None:
    options: dict[str, Any] = {"base_url": f"{application.url}/v1", "api_key": application.token}
    # Without the last option LangChain sends token ids of OpenAI's own vocabulary, which it downloads first.
    embeddings = OpenAIEmbeddings(model="text-embedding-v3", **options, check_embedding_ctx_length=False)
    query = embeddings.embed_query("如何重置密码？")
    near, far = embeddings.embed_documents(["找回账户的步骤", "今天的午餐菜单"])

    def cosine(other: list[float]) -> float:
        return sum(a * b for a, b in zip(query, other, strict=True))

    assert cosine(near) > cosine(far)
