"""Every request through the whole ingress leaves one record, and none goes ahead that could not."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route

from deployments.call import Answer, Reason, Refusal, StreamItem, Usage
from deployments.timing import Timing
from serve_app.audit import Outcome
from serve_app.audit.chain import parse
from serve_app.audit.segment import files_of
from serve_app.audit.signing import read_public
from serve_app.audit.verify import Report, verify
from serve_app.audit_entry import outcome_of
from serve_app.audit_recorder import AuditState
from serve_app.auth import secret
from serve_app.auth.config import AuthConfig, RoleConfig
from serve_app.auth.tokens import Tokens
from serve_app.catalogue import Catalogue
from serve_app.config import AppConfig
from serve_app.errors import ApiError, ModelUnavailable
from serve_app.ingress import compose
from serve_app.limits import LimitRule, LimitsConfig
from serve_app.observation import Observation
from serve_app.registry import Registry, RegistryClient
from serve_app.registry.client import Methods
from serve_app.routes import health
from tests.unit.serve_app.conftest import (
    REPLICA,
    KeptRecords,
    ScriptedUpstream,
    leave_at_the_first_frame,
    running,
)
from tests.unit.serve_app.fleet import SetBoard, fleet_of

CHAT_PATH = "/v1/chat/completions"
CHAT = {"model": "chat", "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 20}
FRAME = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n'
DEADLINE_S = 10.0


def changed(config: AppConfig, part: str, **fields: Any) -> AppConfig:
    """The configuration with some keys of one part changed."""
    return config.model_copy(update={part: getattr(config, part).model_copy(update=fields)})


def bearer(config: AppConfig, subject: str, *roles: str) -> dict[str, str]:
    tokens = Tokens(
        secret.read(config.auth.secret_file), issuer=config.auth.issuer, audience=config.auth.audience
    )
    return {"authorization": f"Bearer {tokens.issue(subject, roles or ('user',), 600)}"}


@asynccontextmanager
async def serving(
    config: AppConfig,
    upstream: ScriptedUpstream,
    on_audit: Callable[[AuditState], None] | None = None,
    over: Callable[[Registry], Methods] = lambda registry: registry,
) -> AsyncIterator[Starlette]:
    """The ingress between its start and its stop: behind it, the chain is closed."""
    registry = Registry(config.store, config.limits)

    async def up() -> dict[str, bool]:
        return {"chat": True}

    client = RegistryClient(over(registry))
    app = compose(
        config,
        upstream,
        KeptRecords(),
        up,
        client,
        replica_id=REPLICA,
        catalogue=Catalogue(config.catalogue),
        fleet=fleet_of(SetBoard({})),
        on_audit=on_audit,
    )
    try:
        async with running(app):
            yield app
    finally:
        await registry.close()


def client_of(app: Starlette, headers: dict[str, str] | None = None) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, client=("10.0.0.7", 4711))
    return httpx.AsyncClient(transport=transport, base_url="http://ingress", headers=headers)


def chain_of(config: AppConfig) -> Path:
    """Folder of the replica's chain."""
    return config.audit.directory / f"{socket.gethostname()}.0"


def check(config: AppConfig) -> Report:
    """The report on the replica's chain, which must be good and its only one."""
    (report,) = verify(config.audit.directory, read_public([config.audit.signing_key_file]))
    assert report.problem is None
    assert (report.recovered, report.unsigned) == (0, 0)
    return report


def records(config: AppConfig) -> list[dict[str, Any]]:
    """What the chain says of the requests."""
    check(config)
    folder = chain_of(config)
    lines = (line for path in files_of(folder) for line in path.read_bytes().splitlines())
    return [said for said in map(parse, lines) if said["kind"] == "record"]


async def record_of(
    config: AppConfig, upstream: ScriptedUpstream, body: dict[str, Any], *roles: str
) -> dict[str, Any]:
    """The only record of a chat."""
    async with serving(config, upstream) as app, client_of(app, bearer(config, "zhangsan", *roles)) as client:
        await client.post(CHAT_PATH, json=body, headers={"x-request-id": "order-66"})
    (said,) = records(config)
    return said


async def test_answer_is_recorded_with_who_asked_and_what_it_used(
    config: AppConfig, upstream: ScriptedUpstream
) -> None:
    upstream.reply = Answer(b"{}", Usage(3, 2, Timing(0.02, 0.05, 0.005)))
    before = time.time()
    said = await record_of(config, upstream, {**CHAT, "model": "qwen-max"})

    expected = {
        "request_id": "order-66",
        "user_id": "zhangsan",
        "tenant": "default",
        "model": "chat",
        "alias": "qwen-max",
        "task": "chat",
        "route": CHAT_PATH,
        "input_tokens": 3,
        "output_tokens": 2,
        "status": "success",
        "outcome": "done",
        "http_status": 200,
        "queue_ms": 5.0,
        "replica": REPLICA,
        "client_address": "10.0.0.7",
        "bytes_in": len(json.dumps({**CHAT, "model": "qwen-max"}, separators=(",", ":"))),
        "bytes_out": 2,
    }
    assert {key: said.get(key) for key in expected} == expected
    assert 0 < said["latency_ms"] < 1000 * DEADLINE_S
    assert said["timestamp"][:10] in {
        time.strftime("%Y-%m-%d", time.gmtime(t)) for t in (before, time.time())
    }


async def test_stream_is_recorded_with_the_time_to_its_first_token(
    config: AppConfig, upstream: ScriptedUpstream
) -> None:
    upstream.items = [FRAME, FRAME, Usage(7, 2)]
    said = await record_of(config, upstream, {**CHAT, "stream": True})

    assert (said["outcome"], said["stream"], said["input_tokens"], said["output_tokens"]) == (
        "done",
        True,
        7,
        2,
    )
    assert 0 <= said["ttft_ms"] <= said["latency_ms"]
    assert said["bytes_out"] > 2 * len(FRAME)


async def test_client_that_goes_away_is_recorded_with_what_it_had_used(
    config: AppConfig, upstream: ScriptedUpstream
) -> None:
    upstream.items = [Usage(7, 1), FRAME, None]
    async with serving(config, upstream) as app:
        await leave_at_the_first_frame(app, bearer(config, "zhangsan"), CHAT_PATH, CHAT)

    (said,) = records(config)
    assert (said["outcome"], said["status"], said["http_status"]) == ("disconnected", "aborted", 200)
    assert (said["input_tokens"], said["output_tokens"]) == (7, 1)


@pytest.mark.parametrize(
    ("reply", "late", "outcome", "status", "code"),
    [
        (Refusal(Reason.FAILED, "CUDA"), False, "failed", 500, "internal_error"),
        (ZeroDivisionError("secret"), False, "failed", 500, "internal_error"),
        (ModelUnavailable("The replica is gone."), False, "unavailable", 503, "model_unavailable"),
        (Refusal(Reason.OVERLOADED, "Full."), False, "unavailable", 503, "overloaded"),
        (Refusal(Reason.CONTEXT_LENGTH, "Long."), False, "invalid", 400, "context_length_exceeded"),
        (Refusal(Reason.FAILED, "CUDA"), True, "failed", 200, "internal_error"),
        (None, True, "timeout", 200, "timeout"),
    ],
)
async def test_failure_of_the_engine_is_recorded(
    config: AppConfig,
    upstream: ScriptedUpstream,
    reply: Any,
    late: bool,
    outcome: str,
    status: int,
    code: str,
) -> None:
    body = CHAT
    if late:
        items: list[StreamItem | Usage | Exception | None] = [Usage(7, 1), FRAME, reply]
        upstream.items, body = items, {**CHAT, "stream": True}
    else:
        upstream.reply = reply
    said = await record_of(config, upstream, body)

    assert (said["outcome"], said["http_status"], said["error_code"]) == (outcome, status, code)
    assert said["output_tokens"] == (1 if late else 0)
    assert "CUDA" not in str(said)


@pytest.mark.parametrize(
    ("body", "role", "outcome", "status"),
    [
        ({**CHAT, "n": 0}, "user", "invalid", 400),
        ({**CHAT, "model": "nope"}, "user", "invalid", 404),
        (CHAT, "searcher", "forbidden", 403),
    ],
)
async def test_request_that_is_refused_is_recorded_with_its_caller(
    config: AppConfig, upstream: ScriptedUpstream, body: dict[str, Any], role: str, outcome: str, status: int
) -> None:
    roles = {"user": RoleConfig(models=("*",)), "searcher": RoleConfig(models=("emb*",))}
    fields = config.auth.model_dump() | {"roles": roles, "hide_forbidden_models": False}
    config = config.model_copy(update={"auth": AuthConfig.model_validate(fields)})
    said = await record_of(config, upstream, body, role)

    assert (said["outcome"], said["status"], said["http_status"]) == (outcome, "refused", status)
    assert (said["user_id"], said["input_tokens"], said["output_tokens"]) == ("zhangsan", 0, 0)


async def test_request_over_a_limit_is_recorded(config: AppConfig, upstream: ScriptedUpstream) -> None:
    rule = LimitRule.model_validate({"scope": "user", "requests_per_minute": 1})
    config = config.model_copy(update={"limits": LimitsConfig(rules=(rule,))})
    async with serving(config, upstream) as app, client_of(app, bearer(config, "zhangsan")) as client:
        statuses = [(await client.post(CHAT_PATH, json=CHAT)).status_code for _ in range(2)]

    assert statuses == [200, 429]
    said = records(config)
    assert [each["outcome"] for each in said] == ["done", "limited"]
    assert [each["input_tokens"] for each in said] == [3, 0]


async def test_requests_without_a_credential_are_one_record_with_a_count(
    config: AppConfig, upstream: ScriptedUpstream
) -> None:
    config = changed(
        config, "audit", unauthorized=config.audit.unauthorized.model_copy(update={"window_s": 1e9})
    )
    async with serving(config, upstream) as app, client_of(app) as client:
        for _ in range(5):
            assert (await client.post(CHAT_PATH, json=CHAT)).status_code == 401

    (said,) = records(config)
    assert (said["outcome"], said["count"], said["client_address"]) == ("unauthorized", 5, "10.0.0.7")


async def test_every_route_leaves_a_record_except_the_probes(
    config: AppConfig, upstream: ScriptedUpstream
) -> None:
    asked: list[tuple[str, str]] = []
    async with serving(config, upstream) as app, client_of(app, bearer(config, "root", "admin")) as client:
        for method, path in leaves(app.routes):
            name = f"{method}-{len(asked)}"
            await client.request(method, re.sub(r"\{[^}]*\}", "x", path), headers={"x-request-id": name})
            asked.append((name, path))
        await client.get("/nowhere", headers={"x-request-id": "nowhere"})

    assert len(asked) > 20
    expected = [name for name, path in asked if path not in health.PATHS] + ["nowhere"]
    assert [said["request_id"] for said in records(config)] == expected
    assert {said["client_address"] for said in records(config)} == {"10.0.0.7"}


def leaves(routes: Iterable[BaseRoute], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Method and path of every route."""
    for route in routes:
        if isinstance(route, Mount):
            yield from (
                leaves(route.routes, prefix + route.path)
                if route.routes
                else [("GET", f"{prefix}{route.path}/swagger-ui.css")]
            )
        else:
            assert isinstance(route, Route), "tell this test how such a route is asked"
            yield from ((method, prefix + route.path) for method in sorted(route.methods or ()))


def test_every_error_has_an_outcome() -> None:
    def below(kind: type[ApiError]) -> Iterator[type[ApiError]]:
        for each in kind.__subclasses__():
            yield each
            yield from below(each)

    ours = {Outcome.UNAVAILABLE, Outcome.FAILED, Outcome.TIMEOUT}
    for kind in below(ApiError):
        seen = Observation("r", "r-1", "POST", CHAT_PATH, error=kind.code or kind.type)
        assert (outcome_of(seen) in ours) is (kind.status_code >= 500), kind


def test_requests_in_hand_must_find_room_in_the_audit() -> None:
    args = {
        "models": [{"id": "a", "source": "models/a", "kind": "text"}],
        "auth": {"secret_file": "jwt.key"},
        "audit": {"queue_slack_records": 100},
    }
    with pytest.raises(ValidationError, match="at least ingress"):
        AppConfig.model_validate(args)
