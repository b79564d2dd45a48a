"""Frames and bodies on their way from the engine to the client."""

from __future__ import annotations

import json
from types import SimpleNamespace

from pydantic import BaseModel

from deployments.call import Usage
from deployments.reply import (
    ReplyFormat,
    error_of_frame,
    is_error_frame,
    is_usage_frame,
    read_usage_frame,
    rerank,
    usage_of,
)
from deployments.timing import Stopwatch, Timing

FORM = ReplyFormat("demo-chat", "qwen-max")


def frame(**fields: object) -> str:
    return f"data: {json.dumps(fields, separators=(',', ':'))}\n\n"


def test_frame_names_the_model_as_asked() -> None:
    text = frame(id="chatcmpl-1", model="demo-chat", choices=[])
    assert FORM.frame(text) == text.replace("demo-chat", "qwen-max").encode()


def test_text_that_looks_like_a_key_is_left_alone() -> None:
    said = '"model":"demo-chat" and "reasoning":1'
    text = frame(model="demo-chat", choices=[{"delta": {"content": said}}])
    read = json.loads(FORM.frame(text).removeprefix(b"data: "))

    assert read["model"] == "qwen-max"
    assert read["choices"][0]["delta"]["content"] == said


def test_reasoning_has_the_name_of_the_public_api() -> None:
    text = frame(model="demo-chat", choices=[{"delta": {"reasoning": "Hm."}}])
    read = json.loads(FORM.frame(text).removeprefix(b"data: "))
    assert read["choices"][0]["delta"] == {"reasoning_content": "Hm."}


def test_body_names_the_model_as_asked() -> None:
    class Reply(BaseModel):
        model: str

    assert FORM.body(Reply(model="demo-chat")) == b'{"model":"qwen-max"}'


def test_usage_frame_is_told_from_a_frame_that_quotes_one() -> None:
    usage = frame(model="m", choices=[], usage={"prompt_tokens": 7, "completion_tokens": 2}).encode()
    quoting = frame(model="m", choices=[{"delta": {"content": '"choices":[],"usage":{'}}]).encode()

    assert is_usage_frame(usage)
    assert read_usage_frame(usage, Stopwatch()) == (Usage(7, 2), usage)
    assert not is_usage_frame(quoting)


def test_engines_metrics_are_read_and_taken_off_the_usage_frame() -> None:
    metrics = {"time_to_first_token_ms": 20.0, "generation_time_ms": 30.0, "queue_time_ms": 5.0}
    told = frame(model="m", choices=[], usage={"prompt_tokens": 7}, metrics=metrics).encode()
    usage, passed_on = read_usage_frame(told, Stopwatch())

    assert usage.timing == Timing(0.02, 0.05, 0.005)
    assert passed_on == frame(model="m", choices=[], usage={"prompt_tokens": 7}).encode()


def test_error_frame_is_told_from_a_frame_that_quotes_one() -> None:
    error = frame(error={"message": "boom", "code": 500}).encode()
    quoting = frame(choices=[{"delta": {"content": 'data: {"error"'}}]).encode()

    assert is_error_frame(error)
    assert error_of_frame(error)["message"] == "boom"
    assert not is_error_frame(quoting)


def test_usage_of_an_embedding_has_no_completion() -> None:
    assert usage_of({"prompt_tokens": 5, "completion_tokens": None}) == Usage(5, 0)
    assert usage_of(None) == Usage(0, 0)


def scores(*values: float) -> SimpleNamespace:
    data = [SimpleNamespace(index=index, score=value) for index, value in enumerate(values)]
    return SimpleNamespace(id="score-1", data=data, usage={"prompt_tokens": 9})


def test_rerank_sorts_by_relevance_and_keeps_indexes() -> None:
    answer = rerank(scores(0.1, 0.9, 0.5), {"documents": ["a", "b", "c"]}, "gte-rerank", Stopwatch())
    read = json.loads(answer.body)

    assert [r["index"] for r in read["results"]] == [1, 2, 0]
    assert read["results"][0]["document"] == {"text": "b"}
    assert read["model"] == "gte-rerank"
    assert answer.usage == Usage(9)


def test_rerank_returns_the_best_without_documents_on_request() -> None:
    body = {"documents": ["a", "b", "c"], "top_n": 2, "return_documents": False}
    read = json.loads(rerank(scores(0.1, 0.9, 0.5), body, "m", Stopwatch()).body)

    assert read["results"] == [{"index": 1, "relevance_score": 0.9}, {"index": 2, "relevance_score": 0.5}]
