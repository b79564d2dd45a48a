"""Whole responses in vLLM's own models, as ``ray.serve.llm`` hands them on."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from ray.llm._internal.serve.core.configs.openai_api_models import (
    ChatCompletionResponse,
    CompletionResponse,
    EmbeddingResponse,
    ErrorInfo,
    ErrorResponse,
    ScoreResponse,
)
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionResponseChoice, ChatMessage
from vllm.entrypoints.openai.completion.protocol import CompletionResponseChoice
from vllm.entrypoints.pooling.embed.protocol import EmbeddingResponseData
from vllm.entrypoints.pooling.scoring.protocol import ScoreResponseData
from vllm.entrypoints.serve.engine.protocol import UsageInfo
from vllm.entrypoints.serve.exception_handling.error_response import create_error_response

from deployments.simulated.chunk import FINGERPRINT
from deployments.simulated.plan import Plan


def refusal(failure: Exception) -> ErrorResponse:
    """What is wrong with a request, with the status that vLLM gives to such an exception."""
    return ErrorResponse(error=ErrorInfo(**create_error_response(failure).error.model_dump()))


def chat(
    model_id: str, answer_id: str, created: int, texts: Sequence[str], plan: Plan
) -> ChatCompletionResponse:
    """The answers to a chat."""
    choices = [
        ChatCompletionResponseChoice(
            index=index,
            message=ChatMessage(role="assistant", content=text),
            finish_reason=plan.ending.finish_reason,
        )
        for index, text in enumerate(texts)
    ]
    return ChatCompletionResponse(
        id=answer_id,
        created=created,
        model=model_id,
        choices=choices,
        usage=plan.usage,
        system_fingerprint=FINGERPRINT,
    )


def completion(
    model_id: str, answer_id: str, created: int, texts: Sequence[str], plan: Plan
) -> CompletionResponse:
    """The completions of one or several prompts."""
    choices = [
        CompletionResponseChoice(index=index, text=text, finish_reason=plan.ending.finish_reason)
        for index, text in enumerate(texts)
    ]
    return CompletionResponse(
        id=answer_id,
        created=created,
        model=model_id,
        choices=choices,
        usage=plan.usage,
        system_fingerprint=FINGERPRINT,
    )


def embeddings(
    model_id: str, answer_id: str, vectors: Sequence[Sequence[float]], coding: str, used: UsageInfo
) -> EmbeddingResponse:
    """Vectors, as numbers or as base64 of little-endian float32."""
    data = [
        EmbeddingResponseData(
            index=index,
            embedding=base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()
            if coding == "base64"
            else vector,
        )
        for index, vector in enumerate(vectors)
    ]
    return EmbeddingResponse(id=answer_id, model=model_id, data=data, usage=used)


def scores(model_id: str, answer_id: str, values: Sequence[float], used: UsageInfo) -> ScoreResponse:
    """A score for each pair."""
    data = [ScoreResponseData(index=index, score=value) for index, value in enumerate(values)]
    return ScoreResponse(id=answer_id, model=model_id, data=data, usage=used)
