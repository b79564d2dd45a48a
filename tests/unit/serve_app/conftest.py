"""The ingress composed around an upstream that the test holds in its hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message

from deployments.call import Answer, Bill, Call, Refusal, StreamItem, Usage
from deployments.config import ModelConfig, ModelKind
from serve_app.audit import AuditConfig
from serve_app.auth import secret
from serve_app.auth.config import AuthConfig
from serve_app.auth.tokens import Tokens
from serve_app.catalogue import Catalogue
from serve_app.config import AppConfig, IngressConfig
from serve_app.ingress import compose
from serve_app.observation import Observation
from serve_app.registry import Registry, RegistryClient
from serve_app.store import StoreConfig
from tests.unit.serve_app.fleet import SetBoard, fleet_of

REPLICA = "ingress-1"


class ScriptedUpstream:
    """Answers with what the test set, and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.reply: Answer | Refusal | Exception = Answer(b'{"object":"chat.completion"}', Usage(3, 2))
        self.items: list[StreamItem | Usage | Exception | None] = []
        self.closed = 0
        self.stopped = False

    async def answer(self, model_id: str, call: Call, bill: Bill) -> Answer | Refusal:
        self.calls.append(call)
        bill(self.reply.usage if isinstance(self.reply, Answer) else Usage())
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply

    async def stream(self, model_id: str, call: Call, bill: Bill) -> AsyncGenerator[StreamItem, None]:
        self.calls.append(call)
        used = Usage()
        try:
            for item in self.items:
                if item is None:
                    await asyncio.Event().wait()
                elif isinstance(item, Exception):
                    raise item
                elif isinstance(item, Usage):
                    used = item
                else:
                    yield item
        finally:
            self.closed += 1
            bill(used)

    def close(self) -> None:
        self.stopped = True


class KeptRecords:
    """Keeps what would become metrics."""

    def __init__(self) -> None:
        self.seen: list[Observation] = []

    def record(self, seen: Observation) -> None:
        if not seen.probe:
            self.seen.append(seen)


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "jwt.key"
    secret.ensure(path)
    return path


@pytest.fixture
def config(secret_file: Path) -> AppConfig:
    def model(model_id: str, kind: ModelKind) -> ModelConfig:
        return ModelConfig(id=model_id, source=f"models/{model_id}", kind=kind, max_model_len=64)

    return AppConfig(
        models=(
            model("chat", ModelKind.TEXT),
            model("vl", ModelKind.VISION_LANGUAGE),
            model("embed", ModelKind.EMBEDDING),
            model("rank", ModelKind.RERANKER),
        ),
        aliases={"qwen-max": "chat"},
        auth=AuthConfig(secret_file=secret_file, sync_interval_s=0.05),
        audit=AuditConfig(
            directory=secret_file.parent / "audit", signing_key_file=secret_file.parent / "audit.key"
        ),
        store=StoreConfig(url=f"sqlite:///{secret_file.parent / 'store.db'}"),
        ingress=IngressConfig(
            max_body_bytes=20_000,
            max_choices=4,
            max_inputs=3,
            request_timeout_s=0.5,
            first_token_timeout_s=0.2,
            idle_timeout_s=0.1,
        ),
    )


@pytest.fixture
def upstream() -> ScriptedUpstream:
    return ScriptedUpstream()


@pytest.fixture
def records() -> KeptRecords:
    return KeptRecords()


@pytest.fixture
def models_up() -> dict[str, bool]:
    return {"chat": True, "vl": True}


@pytest.fixture
def catalogue(config: AppConfig) -> Catalogue:
    return Catalogue(config.catalogue)


@pytest.fixture
def board() -> SetBoard:
    return SetBoard({})


@pytest.fixture
async def registry(config: AppConfig) -> AsyncIterator[Registry]:
    registry = Registry(config.store, config.limits)
    yield registry
    await registry.close()


@pytest.fixture
async def app(
    config: AppConfig,
    upstream: ScriptedUpstream,
    records: KeptRecords,
    models_up: dict[str, bool],
    registry: Registry,
    catalogue: Catalogue,
    board: SetBoard,
) -> AsyncIterator[ASGIApp]:
    async def up() -> dict[str, bool]:
        return models_up

    composed = compose(
        config,
        upstream,
        records,
        up,
        RegistryClient(registry),
        replica_id=REPLICA,
        catalogue=catalogue,
        fleet=fleet_of(board),
    )
    async with running(composed):
        yield composed


@asynccontextmanager
async def running(app: Starlette) -> AsyncIterator[None]:
    """An application between its start and its stop, once it knows its callers."""
    async with app.router.lifespan_context(app), asyncio.timeout(60):
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ingress")
        while not (await client.get("/ready")).json()["registry"]:  # noqa: ASYNC110  (polled over HTTP)
            await asyncio.sleep(0.01)
        yield


async def leave_at_the_first_frame(
    app: ASGIApp, headers: Mapping[str, str], path: str, body: Mapping[str, Any]
) -> None:
    """Ask for a stream and go away once something of it is there; httpx over ASGI cannot."""
    gone = asyncio.Event()
    messages = [{"type": "http.request", "body": json.dumps({**body, "stream": True}).encode()}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message.get("body"):
            gone.set()

    sent = {"content-type": "application/json", **headers}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "method": "POST",
        "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        "query_string": b"",
    }
    await app(scope, receive, send)


@pytest.fixture
def token(config: AppConfig) -> str:
    auth = config.auth
    tokens = Tokens(secret.read(auth.secret_file), issuer=auth.issuer, audience=auth.audience)
    return tokens.issue("zhangsan", ["user"], 600)


@pytest.fixture
async def client(app: ASGIApp, token: str) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://ingress", headers=headers) as client:
        yield client
