"""The ingress composed around an upstream that the test holds in its hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.types import ASGIApp

from deployments.call import Answer, Bill, Call, Refusal, StreamItem, Usage
from deployments.config import ModelConfig, ModelKind
from serve_app.auth import secret
from serve_app.auth.tokens import Tokens
from serve_app.config import AppConfig, AuthConfig, IngressConfig
from serve_app.ingress import compose
from serve_app.observation import Observation


class ScriptedUpstream:
    """Answers with what the test set, and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.reply: Answer | Refusal | Exception = Answer(b'{"object":"chat.completion"}', Usage(3, 2))
        self.items: list[StreamItem | Usage | Exception | None] = []
        self.closed = 0

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
        raise AssertionError("no test here stops the ingress")


class KeptRecords:
    """Keeps what would become metrics."""

    def __init__(self) -> None:
        self.seen: list[Observation] = []

    def record(self, seen: Observation) -> None:
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
        auth=AuthConfig(secret_file=secret_file),
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
def app(
    config: AppConfig, upstream: ScriptedUpstream, records: KeptRecords, models_up: dict[str, bool]
) -> ASGIApp:
    async def up() -> dict[str, bool]:
        return models_up

    return compose(config, upstream, records, up)


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
