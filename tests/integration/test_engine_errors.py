"""What a client can do wrong that only the engine notices: an OpenAI error body each time, never a 500."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.integration.conftest import Application
from tests.integration.pictures import ask, picture

pytestmark = pytest.mark.integration

USER: list[Any] = [{"role": "user", "content": "Hello!"}]


def schema(value: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": value}}}


def tool(**function: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": function}], "tool_choice": "required"}


REFUSED: list[tuple[dict[str, Any], str | None]] = [
    ({"max_tokens": 4000}, "max_tokens"),
    ({"max_token": 4}, None),
    ({"foo": 1}, None),
    ({"top_k": -5}, None),
    ({"top_k": "x"}, "top_k"),
    ({"min_p": 5}, None),
    ({"repetition_penalty": 0}, None),
    ({"presence_penalty": "a"}, "presence_penalty"),
    ({"logit_bias": {"a": 1}}, "logit_bias"),
    ({"logit_bias": {"99999999": 1}}, "logit_bias"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 500}, "logprobs"),
    ({"seed": 2**70}, "seed"),
    ({"stop": [""]}, None),
    ({"stop_token_ids": [-1]}, "stop_token_ids"),
    ({"allowed_token_ids": []}, "allowed_token_ids"),
    ({"bad_words": [""]}, None),
    ({"min_tokens": 100, "max_tokens": 4}, None),
    ({"prompt_logprobs": 10**9}, "prompt_logprobs"),
    ({"response_format": {"type": "nope"}}, "response_format.type"),
    (schema({"type": "nonsense"}), None),
    (schema({"$ref": "#/nowhere"}), None),
    ({"structured_outputs": {"regex": "("}}, None),
    ({"structured_outputs": {"grammar": "x ::="}}, None),
    ({"structured_outputs": 5}, None),
    ({"tools": []}, "tools"),
    ({"tool_choice": "required"}, "tool_choice"),
    (tool(name="f", parameters=5), "tools[0].function.parameters"),
    ({"chat_template": "{{ 1 }}"}, "chat_template"),
    ({"chat_template_kwargs": {"messages": []}}, None),
    ({"truncate_prompt_tokens": 10**6}, None),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"reasoning_effort": "ultra"}, "reasoning_effort"),
    ({"kv_transfer_params": {"a": 1}}, "kv_transfer_params"),
    ({"functions": [{"name": "f"}]}, None),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
    (
        {
            "messages": [
                {"role": "user", "content": [{"type": "video_url", "video_url": {"url": "file:///"}}]}
            ]
        },
        None,
    ),
    ({"messages": ask("What is it?", picture((1, 2, 3)))}, None),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("body", "param"), REFUSED, ids=[json.dumps(body)[:70] for body, _ in REFUSED])
def test_complaint_of_the_engine_is_a_400(
    http: httpx.Client, body: dict[str, Any], param: str | None, stream: bool
) -> None:
    if stream and "stream_options" in body:
        body = {"stream_options": {"include_usage": "x"}}
    response = http.post(
        "/v1/chat/completions", json={"model": "demo-chat", "messages": USER, "stream": stream, **body}
    )
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    if param is not None and not stream:
        assert error["param"] == param


@pytest.mark.parametrize("stream", [False, True])
def test_prompt_over_the_context_is_named_so(http: httpx.Client, stream: bool) -> None:
    messages = [{"role": "user", "content": "word " * 3000}]
    body = {"model": "demo-chat", "messages": messages, "stream": stream}
    response = http.post("/v1/chat/completions", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"model": "demo-chat", "prompt": []}),
        ("/v1/completions", {"model": "demo-chat", "prompt": [10**9]}),
        ("/v1/completions", {"model": "demo-chat", "prompt": "x", "prompt_embeds": "abcd"}),
        ("/v1/completions", {"model": "demo-chat", "prompt": "x", "suffix": "y"}),
        ("/v1/embeddings", {"model": "demo-embedding", "input": ""}),
        ("/v1/embeddings", {"model": "demo-embedding", "input": "word " * 3000}),
        ("/v1/embeddings", {"model": "demo-embedding", "input": [10**9]}),
        ("/v1/embeddings", {"model": "demo-embedding", "input": [-1]}),
        ("/v1/embeddings", {"model": "demo-embedding", "input": "x", "dimensions": 10**6}),
        ("/v1/embeddings", {"model": "demo-embedding", "input": "x", "encoding_format": "bytes"}),
        ("/v1/embeddings", {"model": "demo-embedding", "messages": USER, "input": "x"}),
        ("/v1/rerank", {"model": "demo-reranker", "query": "q", "documents": ["word " * 3000]}),
        ("/v1/rerank", {"model": "demo-reranker", "query": "q", "documents": ["d"], "data_1": "x"}),
        ("/v1/score", {"model": "demo-reranker", "text_1": ["a", "b"], "text_2": ["a", "b", "c"]}),
        ("/v1/chat/completions", {"model": "demo-vl", "messages": ask("?", *[picture((9, 9, 9))] * 3)}),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else value,
)
def test_wrong_input_of_the_other_routes_is_a_400(
    http: httpx.Client, path: str, body: dict[str, Any]
) -> None:
    response = http.post(path, json=body)
    assert 400 <= response.status_code < 500, response.text
    assert response.json()["error"]["message"]


def test_broken_image_is_named_by_its_place(http: httpx.Client) -> None:
    good = picture((255, 0, 0))
    messages = ask("Which colours are these images?", good, good[:-40])
    response = http.post("/v1/chat/completions", json={"model": "demo-vl", "messages": messages})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "messages[0].content[1].image_url"


def test_remote_image_is_refused_where_no_host_is_allowed(http: httpx.Client) -> None:
    messages = ask("What colour is this image?", "https://example.com/red.png")
    response = http.post("/v1/chat/completions", json={"model": "demo-vl", "messages": messages})
    assert response.status_code == 400
    assert "allowed_hosts" in response.json()["error"]["message"]


HEADERS = [
    b"x-request-id: \xff\xfe",
    b"x-session-id: \xff",
    b"serve_multiplexed_model_id: \xff",
    b"x-request-timeout-seconds: 0.0001",
    b"x-request-timeout-seconds: abc",
    b"x-request-disconnect-disabled: ?1",
    b"traceparent: \xff",
    b"accept: \xff",
]


@pytest.mark.parametrize("header", HEADERS, ids=repr)
def test_no_header_steers_or_breaks_the_proxy(application: Application, header: bytes) -> None:
    where = urlsplit(application.url)
    request = b"\r\n".join(
        [
            b"GET /v1/models HTTP/1.1",
            b"Host: test",
            b"Connection: close",
            b"Authorization: Bearer " + application.token.encode(),
            header,
            b"",
            b"",
        ]
    )
    with socket.create_connection((where.hostname or "", where.port or 80), timeout=30) as connection:
        connection.sendall(request)
        status = connection.makefile("rb").readline()
    assert status.startswith(b"HTTP/1.1 200"), status


def test_body_over_the_limit_is_413(application: Application) -> None:
    where = urlsplit(application.url)
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {application.token}\r\nContent-Length: 999999999\r\n\r\n"
    )
    with socket.create_connection((where.hostname or "", where.port or 80), timeout=30) as connection:
        connection.sendall(head.encode() + b"{")
        assert b" 413 " in connection.makefile("rb").readline()
