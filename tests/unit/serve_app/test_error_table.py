"""Everything that a client can do wrong before the engine is asked, and the answer to it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.unit.serve_app.conftest import KeptRecords, ScriptedUpstream

USER = [{"role": "user", "content": "Hello!"}]
CHAT = "/v1/chat/completions"


def deep(depth: int) -> bytes:
    return b'{"model":"chat","messages":' + b"[" * depth + b"]" * depth + b"}"


BODIES: list[tuple[str, bytes, int, str | None, str | None]] = [
    ("not json", b"{", 400, None, None),
    ("empty", b"", 400, None, None),
    ("not utf-8", b'{"model":"\xff"}', 400, None, None),
    ("lone surrogate", b'{"model":"\\ud800"}', 400, None, None),
    ("not an object", b"[1]", 400, None, None),
    ("infinite number", b'{"model":"chat","messages":[],"top_p":Infinity}', 400, None, None),
    ("nested a thousand deep", deep(1_000), 400, None, None),
    ("nested nine thousand deep", deep(9_000), 400, None, None),
    ("integer of 15000 digits", b'{"model":"chat","max_tokens":' + b"9" * 15_000 + b"}", 400, None, None),
    ("over the limit", b" " * 20_001, 413, "request_too_large", None),
]


@pytest.mark.parametrize(("name", "body", "status", "code", "param"), BODIES, ids=[b[0] for b in BODIES])
async def test_body_that_cannot_be_read(
    client: httpx.AsyncClient, name: str, body: bytes, status: int, code: str | None, param: str | None
) -> None:
    response = await client.post(CHAT, content=body, headers={"content-type": "application/json"})
    assert_error(response, status, code, param)


FIELDS: list[tuple[str, dict[str, Any], int, str | None, str | None]] = [
    (CHAT, {"messages": USER}, 400, None, "model"),
    (CHAT, {"model": None, "messages": USER}, 400, None, "model"),
    (CHAT, {"model": "", "messages": USER}, 400, None, "model"),
    (CHAT, {"model": ["chat"], "messages": USER}, 400, None, "model"),
    (CHAT, {"model": "nope", "messages": USER}, 404, "model_not_found", "model"),
    (CHAT, {"model": "embed", "messages": USER}, 400, "model_kind_mismatch", "model"),
    (CHAT, {"model": "chat"}, 400, None, "messages"),
    (CHAT, {"model": "chat", "messages": []}, 400, None, "messages"),
    (CHAT, {"model": "chat", "messages": "Hello"}, 400, None, "messages"),
    (CHAT, {"model": "chat", "messages": ["Hello"]}, 400, None, "messages[0]"),
    (CHAT, {"model": "chat", "messages": [{"content": "x"}]}, 400, None, "messages[0].role"),
    (CHAT, {"model": "chat", "messages": [{"role": "boss", "content": "x"}]}, 400, None, "messages[0].role"),
    (CHAT, {"model": "chat", "messages": [{"role": "user", "content": 5}]}, 400, None, "messages[0].content"),
    (
        CHAT,
        {"model": "chat", "messages": [{"role": "user", "content": [{"text": "x"}]}]},
        400,
        None,
        "messages[0].content[0].type",
    ),
    (
        CHAT,
        {"model": "chat", "messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]},
        400,
        None,
        "messages[0].tool_calls[0].function",
    ),
    (CHAT, {"model": "chat", "messages": USER, "max_tokens": -1}, 400, None, "max_tokens"),
    (CHAT, {"model": "chat", "messages": USER, "max_tokens": 1.5}, 400, None, "max_tokens"),
    (CHAT, {"model": "chat", "messages": USER, "max_tokens": "many"}, 400, None, "max_tokens"),
    (CHAT, {"model": "chat", "messages": USER, "stream": "yes"}, 400, None, "stream"),
    (CHAT, {"model": "chat", "messages": USER, "stream_options": 1}, 400, None, "stream_options"),
    (CHAT, {"model": "chat", "messages": USER, "n": 0}, 400, None, "n"),
    (CHAT, {"model": "chat", "messages": USER, "n": 5}, 400, None, "n"),
    (CHAT, {"model": "chat", "messages": USER, "temperature": 9}, 400, None, "temperature"),
    (CHAT, {"model": "chat", "messages": USER, "tools": "all"}, 400, None, "tools"),
    (
        CHAT,
        {
            "model": "vl",
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}],
                }
            ],
        },
        400,
        "invalid_image",
        "messages[0].content[0].image_url",
    ),
    ("/v1/completions", {"model": "chat"}, 400, None, "prompt"),
    ("/v1/completions", {"model": "chat", "prompt": {"a": 1}}, 400, None, "prompt"),
    ("/v1/completions", {"model": "chat", "prompt": ["a", "b", "c", "d"]}, 400, None, "prompt"),
    ("/v1/completions", {"model": "chat", "prompt": "a", "n": 5}, 400, None, "n"),
    ("/v1/embeddings", {"model": "embed"}, 400, None, "input"),
    ("/v1/embeddings", {"model": "embed", "input": []}, 400, None, "input"),
    ("/v1/embeddings", {"model": "chat", "input": "x"}, 400, "model_kind_mismatch", "model"),
    ("/v1/embeddings", {"model": "embed", "input": ["a", "b", "c", "d"]}, 400, None, "input"),
    (
        "/v1/embeddings",
        {"model": "embed", "input": "x", "encoding_format": "bytes"},
        400,
        None,
        "encoding_format",
    ),
    ("/v1/rerank", {"model": "rank", "query": "q"}, 400, None, "documents"),
    ("/v1/rerank", {"model": "rank", "query": "q", "documents": []}, 400, None, "documents"),
    ("/v1/rerank", {"model": "rank", "query": "q", "documents": [1]}, 400, None, "documents[0]"),
    ("/v1/rerank", {"model": "rank", "query": "q", "documents": ["d"], "top_n": 0}, 400, None, "top_n"),
    ("/v1/score", {"model": "rank", "text_1": "q"}, 400, None, "text_2"),
]


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "param"), FIELDS, ids=[f"{f[0]} {f[1]}"[:90] for f in FIELDS]
)
async def test_body_with_a_field_at_fault_names_it(
    client: httpx.AsyncClient,
    upstream: ScriptedUpstream,
    path: str,
    body: dict[str, Any],
    status: int,
    code: str | None,
    param: str | None,
) -> None:
    response = await client.post(path, json=body)
    assert_error(response, status, code, param)
    assert not upstream.calls


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", CHAT, 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("POST", "/health", 405, "method_not_allowed"),
        ("POST", "/v1/chat", 404, "unknown_url"),
        ("GET", "/", 404, "unknown_url"),
        ("GET", "/v1/chat/completions/", 404, "unknown_url"),
        ("GET", "/docs/assets/../../errors.py", 404, "unknown_url"),
    ],
)
async def test_wrong_route_or_method(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    response = await client.request(method, path)
    assert_error(response, status, code)
    if status == 405:
        assert response.headers["allow"]


async def test_card_of_an_unknown_model_is_404(client: httpx.AsyncClient) -> None:
    assert_error(await client.get("/v1/models/nope"), 404, "model_not_found", "model")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=gbk", ""]
)
async def test_wrong_content_type_is_415(client: httpx.AsyncClient, content_type: str) -> None:
    response = await client.post(CHAT, content=b"{}", headers={"content-type": content_type})
    assert_error(response, 415, "unsupported_media_type")


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Basic dTpw", "Bearer a.b.c", "sk-123"])
@pytest.mark.parametrize(("method", "path"), [("POST", CHAT), ("GET", "/v1/models"), ("POST", "/v1/rerank")])
async def test_route_without_a_valid_key_is_401(
    client: httpx.AsyncClient, upstream: ScriptedUpstream, method: str, path: str, authorization: str
) -> None:
    response = await client.request(method, path, headers={"authorization": authorization})
    assert_error(response, 401, "invalid_api_key")
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert not upstream.calls


async def test_key_is_checked_before_the_body_is_read(client: httpx.AsyncClient) -> None:
    response = await client.post(CHAT, content=b" " * 30_000, headers={"authorization": "Bearer no"})
    assert_error(response, 401, "invalid_api_key")


async def test_every_request_is_recorded_once_with_its_status(
    client: httpx.AsyncClient, records: KeptRecords
) -> None:
    await client.post(CHAT, json={"model": "chat", "messages": USER})
    await client.post(CHAT, json={"model": "nope", "messages": USER})
    await client.get("/nowhere")

    assert [(seen.status, seen.error, seen.model) for seen in records.seen] == [
        (200, "", "chat"),
        (404, "model_not_found", ""),
        (404, "unknown_url", ""),
    ]


def assert_error(
    response: httpx.Response, status: int, code: str | None = None, param: str | None = None
) -> None:
    """OpenAI's error body, whole: four keys, a message to act on, never user input as ``param``."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["type"] == "invalid_request_error"
    assert error["code"] == code
    assert error["param"] == param
