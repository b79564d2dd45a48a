"""Who may do what, and how much of it, through the whole ingress with a real registry beside it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import httpx
import pytest
from starlette.types import ASGIApp

from deployments.call import Answer, Reason, Refusal, Usage
from deployments.timing import Timing
from serve_app.auth import secret
from serve_app.auth.config import AuthConfig, RoleConfig
from serve_app.auth.keys import IssuedKey, NewKey
from serve_app.auth.tokens import Tokens
from serve_app.config import AppConfig
from serve_app.limits import LimitRule, LimitsConfig
from serve_app.registry import Registry, RegistryClient
from serve_app.registry.operations import CreateKey, RevokeKey, RevokeSubject, SetLimit, SumUsage
from serve_app.store import LimitKey, UsageSum
from tests.unit.serve_app.conftest import KeptRecords, ScriptedUpstream

CHAT = {"model": "chat", "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 20}
FRAME = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n'
TOKENS_PER_MINUTE = 400
TOLD_WITHIN_S = 60.0
T = TypeVar("T")


@pytest.fixture
def config(config: AppConfig) -> AppConfig:
    """The usual one, with a role for embeddings alone and limits for each user and key."""
    roles = {
        "user": RoleConfig(models=("*",)),
        "admin": RoleConfig(models=("*",), admin=True),
        "searcher": RoleConfig(models=("emb*",), routes=("embedding", "models")),
    }
    auth = AuthConfig.model_validate(config.auth.model_dump() | {"roles": roles})
    rules = (
        LimitRule.model_validate({"scope": "user", "tokens_per_minute": TOKENS_PER_MINUTE}),
        LimitRule.model_validate({"scope": "user", "name": "busy", "concurrent_requests": 1}),
        LimitRule.model_validate({"scope": "user", "name": "rare", "requests_per_minute": 2}),
    )
    return config.model_copy(update={"auth": auth, "limits": LimitsConfig(rules=rules)})


@pytest.fixture
def books(registry: Registry) -> RegistryClient:
    return RegistryClient(registry)


@pytest.fixture
async def nobody(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a credential of its own."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://ingress") as client:
        yield client


def bearer(config: AppConfig, subject: str, *roles: str) -> dict[str, str]:
    auth = config.auth
    tokens = Tokens(secret.read(auth.secret_file), issuer=auth.issuer, audience=auth.audience)
    return {"authorization": f"Bearer {tokens.issue(subject, roles or ('user',), 600)}"}


async def eventually(find: Callable[[], Awaitable[T | None]]) -> T:
    """What ``find`` finds, as soon as it finds something."""
    async with asyncio.timeout(TOLD_WITHIN_S):
        while (found := await find()) is None:  # noqa: ASYNC110  (polled, as a client would)
            await asyncio.sleep(0.02)
    return found


async def key(books: RegistryClient, **fields: Any) -> IssuedKey:
    new = {"name": "nightly", "subject": "lisi", "tenant": "search", **fields}
    return await books.run(CreateKey(NewKey.model_validate(new)))


async def status_becomes(client: httpx.AsyncClient, headers: dict[str, str], status: int) -> httpx.Response:
    """The answer to a chat, once it has a status."""

    async def answer() -> httpx.Response | None:
        response = await client.post("/v1/chat/completions", json=CHAT, headers=headers)
        return response if response.status_code == status else None

    return await eventually(answer)


async def test_key_works_soon_after_it_is_made_and_no_longer_once_revoked(
    nobody: httpx.AsyncClient, books: RegistryClient, records: KeptRecords
) -> None:
    issued = await key(books)
    headers = {"authorization": f"Bearer {issued.secret}"}
    await status_becomes(nobody, headers, 200)
    principal = records.seen[-1].principal
    assert principal is not None
    assert (principal.subject, principal.tenant, principal.key_id) == ("lisi", "search", issued.record.id)

    await books.run(RevokeKey(issued.record.id))
    await status_becomes(nobody, headers, 401)


async def test_revoked_subject_is_out_with_every_token(
    nobody: httpx.AsyncClient, books: RegistryClient, config: AppConfig
) -> None:
    headers = bearer(config, "wangwu")
    await status_becomes(nobody, headers, 200)
    await books.run(RevokeSubject("wangwu"))
    await status_becomes(nobody, headers, 401)


async def test_two_authorization_headers_are_refused(nobody: httpx.AsyncClient, config: AppConfig) -> None:
    good = bearer(config, "zhangsan")["authorization"]
    response = await nobody.get("/v1/models", headers=[("authorization", good), ("authorization", good)])
    assert response.status_code == 401
    assert "several Authorization headers" in response.json()["error"]["message"]


async def test_key_bound_to_a_network_believes_the_proxy_and_nobody_else(
    app: ASGIApp, books: RegistryClient
) -> None:
    issued = await key(books, addresses=["10.1.0.0/16"])
    headers = {"authorization": f"Bearer {issued.secret}"}

    async def status(peer: str, forwarded: str) -> int:
        transport = httpx.ASGITransport(app, client=(peer, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://ingress") as client:
            answer = await client.get("/v1/models", headers={**headers, "x-forwarded-for": forwarded})
            return answer.status_code

    async def known() -> bool | None:
        return await status("127.0.0.1", "10.1.2.3") == 200 or None

    await eventually(known)
    assert await status("192.0.2.1", "10.1.2.3") == 401
    assert await status("127.0.0.1", "10.1.2.3, 192.0.2.1") == 401


@pytest.mark.parametrize("hidden", [True, False])
async def test_model_that_no_role_grants_looks_as_if_it_did_not_exist(
    config: AppConfig, app: ASGIApp, hidden: bool
) -> None:
    object.__setattr__(config.auth, "hide_forbidden_models", hidden)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://ingress") as client:
        headers = bearer(config, "zhaoliu", "searcher")
        cards = (await client.get("/v1/models", headers=headers)).json()["data"]
        known = await client.get("/v1/models/chat", headers=headers)
        asked = await client.post("/v1/chat/completions", json=CHAT, headers=headers)
        missing = await client.post("/v1/chat/completions", json=CHAT | {"model": "chap"}, headers=headers)

    assert [card["id"] for card in cards] == ["embed"]
    assert known.status_code == 404
    assert asked.status_code == (404 if hidden else 403)
    assert missing.status_code == 404
    assert "'chat'" not in missing.text or not hidden, "nor does a hint name it"
    if hidden:
        assert asked.json()["error"]["code"] == missing.json()["error"]["code"] == "model_not_found"


async def test_role_that_nobody_configured_grants_nothing(
    nobody: httpx.AsyncClient, config: AppConfig
) -> None:
    headers = bearer(config, "mallory", "root", "superuser")
    assert (await nobody.get("/v1/models", headers=headers)).json()["data"] == []
    assert (await nobody.post("/v1/chat/completions", json=CHAT, headers=headers)).status_code == 404


async def test_requests_over_the_limit_get_429_with_openais_headers(
    nobody: httpx.AsyncClient, config: AppConfig
) -> None:
    headers = bearer(config, "rare")
    answers = [await nobody.post("/v1/chat/completions", json=CHAT, headers=headers) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["1", "0", "0"]
    refused = answers[2]
    assert refused.headers["x-ratelimit-limit-requests"] == "2"
    assert 1 <= int(refused.headers["retry-after"]) <= 61
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert answers[0].headers["x-ratelimit-limit-tokens"] == str(TOKENS_PER_MINUTE)


async def test_tokens_are_settled_with_what_the_engine_used(
    nobody: httpx.AsyncClient, config: AppConfig, upstream: ScriptedUpstream
) -> None:
    headers = bearer(config, "thrifty")
    upstream.reply = Answer(b"{}", Usage(3, 2, Timing(0.1, 0.2)))
    left = []
    for _ in range(3):
        answer = await nobody.post("/v1/chat/completions", json=CHAT, headers=headers)
        left.append(int(answer.headers["x-ratelimit-remaining-tokens"]))
    # Each reserves more than it uses; what is left after it is what earlier ones have used, and no more.
    reserved = TOKENS_PER_MINUTE - left[0]
    assert 20 < reserved <= len(json.dumps(CHAT)) + 20
    assert left[1] >= left[0] - 5


async def test_refusal_of_the_engine_costs_nothing(
    nobody: httpx.AsyncClient, config: AppConfig, upstream: ScriptedUpstream
) -> None:
    headers = bearer(config, "rare")
    upstream.reply = Refusal(Reason.INVALID, "No.")
    statuses = [
        (await nobody.post("/v1/chat/completions", json=CHAT, headers=headers)).status_code for _ in range(5)
    ]
    assert statuses == [400] * 5


async def test_place_of_a_stream_is_free_when_it_ends_and_not_before(
    nobody: httpx.AsyncClient, config: AppConfig, upstream: ScriptedUpstream
) -> None:
    headers = bearer(config, "busy")
    upstream.items = [FRAME, None]
    first = asyncio.ensure_future(
        nobody.post("/v1/chat/completions", json={**CHAT, "stream": True}, headers=headers)
    )

    async def begun() -> bool | None:
        return bool(upstream.calls) or None

    await eventually(begun)
    refused = await nobody.post("/v1/chat/completions", json=CHAT, headers=headers)
    await first  # ended by the idle timeout
    await status_becomes(nobody, headers, 200)

    assert refused.status_code == 429
    assert "concurrent requests" in refused.json()["error"]["message"]


async def test_request_larger_than_the_limit_is_told_so_and_not_to_try_again(
    nobody: httpx.AsyncClient, config: AppConfig
) -> None:
    # A prompt is bounded by the model's context of 64 tokens, and so is each of the three.
    body = {"model": "embed", "input": ["x" * 900] * 3}
    headers = bearer(config, "wordy")
    fits = await nobody.post("/v1/embeddings", json=body, headers=headers)
    many: dict[str, Any] = {"model": "chat", "prompt": ["x" * 900] * 3, "n": 4, "max_tokens": 64}
    too_large = await nobody.post("/v1/completions", json=many, headers=headers)

    assert fits.status_code == 200
    assert too_large.status_code == 400
    assert too_large.json()["error"]["code"] == "request_exceeds_limit"
    assert "retry-after" not in too_large.headers


async def test_limit_that_an_administrator_sets_holds_soon(
    nobody: httpx.AsyncClient, config: AppConfig, books: RegistryClient
) -> None:
    headers = bearer(config, "newcomer")
    await books.run(SetLimit(LimitKey("user", "newcomer", "requests_per_minute"), 1, "root"))
    response = await status_becomes(nobody, headers, 429)
    assert response.headers["x-ratelimit-limit-requests"] == "1"


async def test_usage_reaches_the_store_and_counts_once(
    nobody: httpx.AsyncClient, config: AppConfig, books: RegistryClient
) -> None:
    headers = bearer(config, "thrifty")
    for _ in range(3):
        await nobody.post("/v1/chat/completions", json=CHAT, headers=headers)

    async def complete() -> UsageSum | None:
        sums = await books.run(SumUsage(("subject", "model", "task")))
        return sums[0] if sums and sums[0].requests == 3 else None

    used = await eventually(complete)
    assert used.group == ("thrifty", "chat", "chat")
    assert (used.prompt_tokens, used.completion_tokens) == (9, 6)
