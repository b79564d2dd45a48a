"""One request from arrival to its last byte, with the engine's part scripted."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from deployments.call import Answer, Reason, Refusal, Task, Usage
from deployments.timing import Timing
from serve_app.errors import ModelUnavailable
from serve_app.observation import CLIENT_GONE
from tests.unit.serve_app.conftest import KeptRecords, ScriptedUpstream, leave_at_the_first_frame

CHAT = {"model": "chat", "messages": [{"role": "user", "content": "Hello!"}]}
FRAME = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n'


def events(response: httpx.Response) -> list[str]:
    return [line.removeprefix("data: ") for line in response.text.split("\n\n") if line.startswith("data: ")]


async def test_answer_is_passed_on_as_the_engine_wrote_it(
    client: httpx.AsyncClient, upstream: ScriptedUpstream, records: KeptRecords
) -> None:
    response = await client.post("/v1/chat/completions", json={**CHAT, "top_k": 5})

    assert response.status_code == 200
    assert response.content == b'{"object":"chat.completion"}'
    assert response.headers["content-type"] == "application/json"
    call = upstream.calls[0]
    assert (call.task, call.model) == (Task.CHAT, "chat")
    assert call.body["top_k"] == 5
    seen = records.seen[0]
    assert (seen.model, seen.status, seen.usage) == ("chat", 200, Usage(3, 2))
    assert seen.principal is not None
    assert seen.principal.subject == "zhangsan"


async def test_answer_tells_the_engines_time_from_the_rest(
    client: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    upstream.reply = Answer(b"{}", Usage(3, 2, Timing(0.02, 0.05, 0.005)))
    timing = (await client.post("/v1/chat/completions", json=CHAT)).headers["server-timing"]

    # The engine's time is scripted, and more than this request took in all.
    assert re.fullmatch(r"ingress;dur=0\.0, queue;dur=5\.0, engine;dur=50\.0, filter;dur=\d+\.\d", timing)


async def test_stream_tells_the_engines_time_in_its_last_comment(
    client: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    upstream.items = [FRAME, Usage(7, 2, Timing(0.0, 0.05))]
    response = await client.post("/v1/chat/completions", json={**CHAT, "stream": True})

    comment = response.text.split("\n\n")[1]
    assert re.fullmatch(r": server-timing ingress;dur=\d+\.\d, engine;dur=50\.0, filter;dur=\d+\.\d", comment)
    assert "server-timing" not in response.headers


async def test_error_tells_its_time_too(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/chat/completions", json={})

    assert response.status_code == 400
    assert re.fullmatch(r"ingress;dur=\d+\.\d", response.headers["server-timing"])


async def test_alias_reaches_its_model_under_the_name_asked(
    client: httpx.AsyncClient, upstream: ScriptedUpstream, records: KeptRecords
) -> None:
    await client.post("/v1/chat/completions", json={**CHAT, "model": "qwen-max"})

    assert upstream.calls[0].model == "qwen-max"
    assert (records.seen[0].model, records.seen[0].alias) == ("chat", "qwen-max")


async def test_stream_is_frames_then_done(
    client: httpx.AsyncClient, upstream: ScriptedUpstream, records: KeptRecords
) -> None:
    upstream.items = [FRAME, FRAME, Usage(7, 2)]
    response = await client.post("/v1/chat/completions", json={**CHAT, "stream": True})

    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.content.startswith(FRAME + FRAME + b": server-timing ingress;dur=")
    assert response.content.endswith(b"data: [DONE]\n\n")
    assert events(response)[2:] == ["[DONE]"]
    assert records.seen[0].usage == Usage(7, 2)
    assert records.seen[0].first_byte is not None
    assert upstream.closed == 1


async def test_refusal_in_place_of_the_first_frame_keeps_its_status(
    client: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    upstream.items = [Refusal(Reason.CONTEXT_LENGTH, "Too long.", "messages")]
    response = await client.post("/v1/chat/completions", json={**CHAT, "stream": True})

    assert response.status_code == 400
    assert response.json()["error"] == {
        "message": "Too long.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }


@pytest.mark.parametrize(
    ("late", "code"),
    [
        (Refusal(Reason.FAILED, "CUDA out of memory"), "internal_error"),
        (ModelUnavailable("The replica is gone."), "model_unavailable"),
        (None, "timeout"),
    ],
)
async def test_failure_in_mid_stream_is_an_error_event_then_done(
    client: httpx.AsyncClient, upstream: ScriptedUpstream, records: KeptRecords, late: Any, code: str
) -> None:
    upstream.items = [FRAME, late]
    response = await client.post("/v1/chat/completions", json={**CHAT, "stream": True})

    *_, error, done = events(response)
    assert json.loads(error)["error"]["code"] == code
    assert "CUDA" not in error
    assert done == "[DONE]"
    assert records.seen[0].error == code
    assert upstream.closed == 1


async def test_engine_failure_shows_the_request_id_and_nothing_else(
    client: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    upstream.reply = Refusal(Reason.FAILED, "illegal memory access at 0x7f")
    response = await client.post("/v1/chat/completions", json=CHAT, headers={"x-request-id": "order-66"})

    assert response.status_code == 500
    assert "order-66" in response.json()["error"]["message"]
    assert "0x7f" not in response.text


async def test_unforeseen_exception_is_500_with_the_request_id(
    client: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    upstream.reply = ZeroDivisionError("secret detail")
    response = await client.post("/v1/chat/completions", json=CHAT, headers={"x-request-id": "r-1"})

    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_error"
    assert "r-1" in response.text
    assert "secret detail" not in response.text


async def test_request_that_takes_too_long_is_504(
    client: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    upstream.items = [None]
    response = await client.post("/v1/chat/completions", json={**CHAT, "stream": True})

    assert response.status_code == 504
    assert upstream.closed == 1


@pytest.mark.parametrize(
    ("given", "kept"),
    [("order-66", True), ("a" * 129, False), ("two words", False), ("a'b", False)],
)
async def test_request_id_is_taken_over_only_in_safe_form(
    client: httpx.AsyncClient, upstream: ScriptedUpstream, given: str, kept: bool
) -> None:
    await client.post("/v1/chat/completions", json=CHAT, headers={"x-request-id": given})

    assert upstream.calls[0].request_id.startswith(f"{given}-") is kept


async def test_two_requests_of_one_id_are_two_to_the_engine(
    client: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    for _ in range(2):
        await client.post("/v1/chat/completions", json=CHAT, headers={"x-request-id": "order-66"})

    assert len({call.request_id for call in upstream.calls}) == 2


async def test_ready_names_the_model_that_is_missing(
    client: httpx.AsyncClient, models_up: dict[str, bool]
) -> None:
    assert (await client.get("/ready")).status_code == 200
    models_up["vl"] = False
    response = await client.get("/ready")

    assert response.status_code == 503
    assert response.json() == {"ready": False, "registry": True, "models": {"chat": True, "vl": False}}


async def test_models_are_listed_with_their_aliases(client: httpx.AsyncClient) -> None:
    cards = {card["id"]: card for card in (await client.get("/v1/models")).json()["data"]}

    assert set(cards) == {"chat", "vl", "embed", "rank", "qwen-max"}
    assert cards["qwen-max"]["root"] == "chat"
    assert (await client.get("/v1/models/qwen-max")).json() == cards["qwen-max"]


async def test_answer_of_an_embedding_model_is_passed_on(
    client: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    upstream.reply = Answer(b'{"data":[]}', Usage(4))
    response = await client.post("/v1/embeddings", json={"model": "embed", "input": ["a", "b"]})

    assert response.content == b'{"data":[]}'
    assert upstream.calls[0].task is Task.EMBEDDING


async def test_client_that_goes_away_in_mid_stream_ends_the_call_and_is_recorded_so(
    app: ASGIApp, token: str, upstream: ScriptedUpstream, records: KeptRecords
) -> None:
    upstream.items = [FRAME, None]
    authorization = {"authorization": f"Bearer {token}"}
    await leave_at_the_first_frame(app, authorization, "/v1/chat/completions", CHAT)

    assert upstream.closed == 1
    assert (records.seen[0].status, records.seen[0].error) == (200, CLIENT_GONE)
