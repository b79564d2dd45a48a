"""Chunks of streams as JSON, written by vLLM's own response models: slow, and right.

They set the fields that vLLM 0.29 sets, since what is not set is not written.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from ray.llm._internal.serve.core.configs.openai_api_models import (
    ChatCompletionStreamResponse,
    CompletionStreamResponse,
)
from vllm.entrypoints.generate.base.protocol import DeltaMessage
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionResponseStreamChoice
from vllm.entrypoints.openai.completion.protocol import CompletionResponseStreamChoice
from vllm.entrypoints.serve.engine.protocol import UsageInfo

FinishReason: TypeAlias = Literal["stop", "length"]

FINGERPRINT = "simulated"
"""In the place of vLLM's version."""

TEXT = "@text@"
"""Stands where a token comes; no id of a model holds an @."""


def chat_role(model_id: str, index: int) -> str:
    """The chunk that opens a choice of a chat."""
    delta = DeltaMessage(role="assistant", content="")
    choice = ChatCompletionResponseStreamChoice(index=index, delta=delta, logprobs=None, finish_reason=None)
    return _chat_chunk(model_id, choice, prompt_token_ids=None, prompt_text=None)


def chat_token(model_id: str, index: int, finish_reason: FinishReason | None, closing: bool) -> str:
    """The chunk of a token of a chat; ``closing``: the last chunk of its stream."""
    end: dict[str, Any] = {"stop_reason": None} if finish_reason else {}
    choice = ChatCompletionResponseStreamChoice(
        index=index,
        delta=DeltaMessage(content=TEXT),
        logprobs=None,
        finish_reason=finish_reason,
        token_ids=None,
        **end,
    )
    return _chat_chunk(model_id, choice, **_fingerprint(closing))


def _chat_chunk(model_id: str, choice: ChatCompletionResponseStreamChoice, **more: Any) -> str:
    chunk = ChatCompletionStreamResponse(
        id="", object="chat.completion.chunk", created=0, choices=[choice], model=model_id, **more
    )
    written: str = chunk.model_dump_json(exclude_unset=True)
    return written


def completion_token(model_id: str, index: int, finish_reason: FinishReason | None, closing: bool) -> str:
    """The chunk of a token of a completion, as ``chat_token``."""
    choice = CompletionResponseStreamChoice(
        index=index,
        text=TEXT,
        logprobs=None,
        finish_reason=finish_reason,
        stop_reason=None,
        prompt_token_ids=None,
        token_ids=None,
    )
    chunk = CompletionStreamResponse(
        id="",
        object="text_completion",
        created=0,
        model=model_id,
        choices=[choice],
        **_fingerprint(closing),
    )
    written: str = chunk.model_dump_json(exclude_unset=True)
    return written


def _fingerprint(closing: bool) -> dict[str, str]:
    return {"system_fingerprint": FINGERPRINT} if closing else {}


def chat_usage(model_id: str, stream_id: str, created: int, usage: UsageInfo) -> str:
    """The last chunk of a chat, which carries the usage and no choice."""
    chunk = ChatCompletionStreamResponse(
        id=stream_id,
        object="chat.completion.chunk",
        created=created,
        choices=[],
        model=model_id,
        usage=usage,
        system_fingerprint=FINGERPRINT,
    )
    written: str = chunk.model_dump_json(exclude_unset=True, exclude_none=True)
    return written


def completion_usage(model_id: str, stream_id: str, created: int, usage: UsageInfo) -> str:
    """The last chunk of a completion, which carries the usage and no choice."""
    chunk = CompletionStreamResponse(
        id=stream_id,
        created=created,
        model=model_id,
        choices=[],
        usage=usage,
        system_fingerprint=FINGERPRINT,
    )
    written: str = chunk.model_dump_json(exclude_unset=False, exclude_none=True)
    return written
