"""A running simulated engine, and requests for it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest
from ray.llm._internal.serve.core.configs.openai_api_models import ChatCompletionRequest, CompletionRequest

from deployments.config import SimulationConfig
from deployments.simulated.engine import SimulatedEngine

Start: TypeAlias = Callable[..., AbstractAsyncContextManager[SimulatedEngine]]


@pytest.fixture
def started() -> Start:
    """Start an engine with the given fields of its configuration; stopped at the end of the block."""

    @asynccontextmanager
    async def start(max_model_len: int | None = None, **fields: Any) -> AsyncIterator[SimulatedEngine]:
        simulation = SimulationConfig.model_validate(fields)
        engine = SimulatedEngine(SimpleNamespace(model_id="sim/one"), simulation, max_model_len)
        await engine.start()
        try:
            yield engine
        finally:
            await engine.shutdown()

    return start


def chat_request(text: str = "hello", **fields: Any) -> ChatCompletionRequest:
    messages = [{"role": "user", "content": text}]
    return ChatCompletionRequest.model_validate({"messages": messages, "model": "sim/one"} | fields)


def completion_request(prompt: Any = "hello", **fields: Any) -> CompletionRequest:
    return CompletionRequest.model_validate({"prompt": prompt, "model": "sim/one"} | fields)


async def chat(engine: SimulatedEngine, text: str = "hello", **fields: Any) -> list[Any]:
    return [item async for item in engine.chat(chat_request(text, **fields))]


async def stream(engine: SimulatedEngine, text: str = "hello", **fields: Any) -> list[Any]:
    """The decoded events of a streamed chat; the closing [DONE] is checked and left out."""
    frames = [item async for item in engine.chat(chat_request(text, stream=True, **fields))]
    assert frames.pop() == "data: [DONE]\n\n"
    return [json.loads(frame.removeprefix("data: ")) for frame in frames]


def text_of(events: list[Any], index: int = 0) -> str:
    choices = [choice for event in events for choice in event["choices"] if choice["index"] == index]
    return "".join(choice["delta"]["content"] for choice in choices)


async def eventually(holds: Callable[[], bool], deadline_s: float = 5) -> None:
    end = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < end, "did not happen in time"
        await asyncio.sleep(0.001)
