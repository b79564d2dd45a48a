"""The content filter through the whole ingress: on every route, in both directions, for every role."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from deployments.call import Answer, Usage
from serve_app.auth.config import RoleConfig
from serve_app.config import AppConfig
from serve_app.filtering import Action, FilteringConfig, LexiconConfig, PersonalData, RuleConfig, Scanned
from tests.unit.serve_app.conftest import KeptRecords, ScriptedUpstream

PHRASE = "制造炸弹"
CARD = "4111 1111 1111 1111"
CHAT_PATH = "/v1/chat/completions"
# What each route that leads to a model takes, with a text in each of its places.
BODIES: dict[str, list[dict[str, Any]]] = {
    CHAT_PATH: [
        {"model": "chat", "messages": [{"role": role, "content": PHRASE}]}
        for role in ("system", "developer", "user", "assistant", "tool")
    ]
    + [
        {
            "model": "chat",
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "text", "text": PHRASE[:2]}, {"type": "text", "text": PHRASE[2:]}],
                }
            ],
        },
        {
            "model": "chat",
            "messages": [{"role": "user", "content": "Hi"}],
            "tools": [{"type": "function", "function": {"name": "f", "description": PHRASE}}],
        },
        {
            "model": "chat",
            "messages": [
                {
                    "role": "assistant",
                    "tool_calls": [
                        {
                            "id": "1",
                            "type": "function",
                            "function": {"name": "f", "arguments": json.dumps({"q": PHRASE})},
                        }
                    ],
                }
            ],
        },
        {"model": "chat", "messages": [{"role": "user", "content": PHRASE}], "stream": True},
    ],
    "/v1/completions": [{"model": "chat", "prompt": PHRASE}, {"model": "chat", "prompt": ["Hi", PHRASE]}],
    "/v1/embeddings": [{"model": "embed", "input": PHRASE}, {"model": "embed", "input": ["Hi", PHRASE]}],
    "/v1/rerank": [
        {"model": "rank", "query": PHRASE, "documents": ["Hi"]},
        {"model": "rank", "query": "Hi", "documents": ["Hi", PHRASE]},
    ],
    "/v1/score": [
        {"model": "rank", "text_1": PHRASE, "text_2": "Hi"},
        {"model": "rank", "text_1": "Hi", "text_2": [PHRASE]},
    ],
}
CASES = [(path, body) for path, bodies in BODIES.items() for body in bodies]


@pytest.fixture
def lexicon(tmp_path: Path) -> Path:
    file = tmp_path / "violence.txt"
    file.write_text(f"# phrases\n{PHRASE}\n", encoding="utf-8")
    return file


@pytest.fixture
def config(config: AppConfig, lexicon: Path) -> AppConfig:
    filtering = FilteringConfig(
        lexicons=(
            LexiconConfig(
                category="violence", files=(lexicon,), action=Action.BLOCK, roles={"police": "allow"}
            ),
        ),
        patterns={PersonalData.BANK_CARD: RuleConfig(action=Action.MASK)},
        placeholder="***",
        reload_interval_s=0.02,
    )
    roles = {"user": RoleConfig(models=("*",)), "police": RoleConfig(models=("*",))}
    auth = config.auth.model_copy(update={"roles": roles})
    return config.model_copy(update={"filtering": filtering, "auth": auth})


def frame(index: int = 0, finish: str | None = None, **delta: Any) -> bytes:
    """A frame as vLLM writes it."""
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    event = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "chat",
        "choices": [choice],
    }
    return b"data: " + json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def said(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """The choices of a stream's events."""
    *events, done = [line for line in response.text.split("\n\n") if line.startswith("data: ")]
    assert done == "data: [DONE]"
    for event in events:
        yield from json.loads(event.removeprefix("data: "))["choices"]


@pytest.mark.parametrize(("path", "body"), CASES)
async def test_prompt_that_is_blocked_reaches_no_engine(
    client: httpx.AsyncClient,
    upstream: ScriptedUpstream,
    records: KeptRecords,
    path: str,
    body: dict[str, Any],
) -> None:
    response = await client.post(path, json=body)

    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == "content_filter"
    assert "violence" in error["message"]
    assert PHRASE[:2] not in response.text
    assert upstream.calls == []
    (seen,) = records.seen
    assert seen.usage == Usage()
    assert seen.prompt_verdict is not None
    assert seen.prompt_verdict.blocking == ("violence",)
    assert seen.answer_verdict is None


def test_every_route_to_a_model_is_among_them(app: Starlette) -> None:
    """A new route fails here until its texts stand in the table above, or it is known to lead to no model."""
    no_model = re.compile(r"/(health|ready|openapi\.json|docs(/assets)?|v1/models.*|admin/v1/.*)?")
    paths = {route.path for route in app.routes if isinstance(route, Route | Mount)}
    assert {path for path in paths if not no_model.fullmatch(path)} == set(BODIES)


async def test_matches_are_masked_before_the_engine_sees_them(
    client: httpx.AsyncClient, upstream: ScriptedUpstream, records: KeptRecords
) -> None:
    body = {"model": "chat", "messages": [{"role": "user", "content": f"My card is {CARD}."}]}
    assert (await client.post(CHAT_PATH, json=body)).status_code == 200

    (call,) = upstream.calls
    assert call.body["messages"][0]["content"] == "My card is ***."
    verdict = records.seen[0].prompt_verdict
    assert verdict is not None
    assert (verdict.action, verdict.scanned) == (Action.MASK, Scanned.ALL)


async def test_whole_answer_is_masked(client: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    message = {"role": "assistant", "content": f"It is {CARD}."}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    upstream.reply = Answer(json.dumps({"choices": [choice]}).encode(), Usage(3, 2))
    body = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]}
    answer = (await client.post(CHAT_PATH, json=body)).json()
    assert answer["choices"][0]["message"]["content"] == "It is ***."


async def test_phrase_that_is_cut_over_frames_ends_the_stream_and_the_engine(
    client: httpx.AsyncClient, upstream: ScriptedUpstream, records: KeptRecords
) -> None:
    pieces = ["如何", "制", "造炸", "弹", "？", "先"]
    upstream.items = [
        frame(role="assistant", content=""),
        *(frame(content=piece) for piece in pieces),
        None,  # the engine would go on for ever
    ]
    body = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    response = await client.post(CHAT_PATH, json=body)

    choices = list(said(response))
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == "如何"
    assert [choice["finish_reason"] for choice in choices][-1] == "content_filter"
    assert upstream.closed == 1
    (seen,) = records.seen
    assert seen.status == 200
    assert seen.error == ""
    assert seen.answer_verdict is not None
    assert seen.answer_verdict.blocking == ("violence",)
    assert seen.filter_s > 0


async def test_one_choice_that_is_blocked_leaves_the_other_alone(
    client: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    upstream.items = [
        frame(0, role="assistant", content=""),
        frame(1, role="assistant", content=""),
        frame(0, content=PHRASE),
        frame(1, content="Hello"),
        frame(0, content=" and more"),
        frame(1, finish="stop", content=""),
    ]
    body = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}], "stream": True, "n": 2}
    choices = list(said(await client.post(CHAT_PATH, json=body)))

    told = {index: [c for c in choices if c["index"] == index] for index in (0, 1)}
    assert "".join(c["delta"].get("content") or "" for c in told[0]) == ""
    assert told[0][-1]["finish_reason"] == "content_filter"
    assert "".join(c["delta"].get("content") or "" for c in told[1]) == "Hello"
    assert told[1][-1]["finish_reason"] == "stop"


@pytest.mark.parametrize("stream", [False, True])
async def test_role_that_may_say_it_gets_through(
    client: httpx.AsyncClient, upstream: ScriptedUpstream, config: AppConfig, stream: bool
) -> None:
    from serve_app.cli.token import issue

    token = issue(config.auth, "wangwu", ["police"], 600)
    upstream.items = [frame(content=PHRASE), frame(finish="stop")]
    body = {"model": "chat", "messages": [{"role": "user", "content": PHRASE}], "stream": stream}
    headers = {"authorization": f"Bearer {token}"}
    response = await client.post(CHAT_PATH, json=body, headers=headers)
    assert response.status_code == 200
    assert (PHRASE in response.text) is stream


async def test_long_prompt_is_filtered_like_a_short_one(client: httpx.AsyncClient) -> None:
    body = {"model": "chat", "messages": [{"role": "user", "content": "a" * 17_000 + PHRASE}]}
    response = await client.post(CHAT_PATH, json=body)
    assert response.json()["error"]["code"] == "content_filter"


async def test_lexicon_that_changes_holds_without_a_restart_and_a_broken_one_does_not(
    client: httpx.AsyncClient, lexicon: Path, records: KeptRecords, caplog: pytest.LogCaptureFixture
) -> None:
    async def status(text: str) -> int:
        body = {"model": "chat", "messages": [{"role": "user", "content": text}]}
        return (await client.post(CHAT_PATH, json=body)).status_code

    assert await status("新的词语") == 200
    lexicon.write_text("新的词语\n", encoding="utf-8")  # noqa: ASYNC240  (a few bytes)
    async with asyncio.timeout(30):
        while await status("新的词语") == 200:  # noqa: ASYNC110  (asked over HTTP)
            await asyncio.sleep(0.01)
    assert await status(PHRASE) == 200
    before, after = records.seen[0].prompt_verdict, records.seen[-1].prompt_verdict
    assert before is not None
    assert after is not None
    assert before.lexicon_version != after.lexicon_version

    lexicon.write_bytes("另外的词语\n".encode("gbk"))  # noqa: ASYNC240  (a few bytes)
    async with asyncio.timeout(30):
        while "is not UTF-8" not in caplog.text:  # noqa: ASYNC110  (a log, not an event)
            await asyncio.sleep(0.01)
    assert await status("新的词语") == 400


async def test_answer_that_cannot_be_read_ends_with_an_error_event(
    client: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    upstream.items = [frame(content="Hi"), b'data: {"choices":[{"delta":\n\n', frame(content="more")]
    body = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    response = await client.post(CHAT_PATH, json=body)
    assert '"code": "internal_error"' in response.text
    assert "more" not in response.text
    assert response.text.endswith("data: [DONE]\n\n")
