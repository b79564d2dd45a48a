"""Requests to a model that is not loaded: how they wait, what they are told, and when they are sent away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import httpx
import pytest
from starlette.types import ASGIApp

from deployments.board import ModelStatus
from deployments.call import Answer, Bill, Call, Reason, Refusal, StreamItem, Usage
from deployments.fleet import ModelState
from serve_app import cold_start
from serve_app.config import AppConfig
from tests.unit.serve_app.conftest import KeptRecords, ScriptedUpstream, leave_at_the_first_frame
from tests.unit.serve_app.fleet import SetBoard

FRAME = b'data: {"choices":[]}\n\n'
CHAT = {"model": "chat", "messages": [{"role": "user", "content": "Hello"}]}
COLD = ModelStatus(ModelState.COLD, load_s=40.0, ready_in_s=40.0)
LOADING = ModelStatus(ModelState.LOADING, load_s=40.0, ready_in_s=28.0)
FAILED = ModelStatus(ModelState.FAILED, ready_in_s=40.0, retry_in_s=17.2, error="bucket weights: no such key")
HOT = ModelStatus(ModelState.HOT, replicas=1)

pytestmark = pytest.mark.timeout(120)


class SleepingUpstream(ScriptedUpstream):
    """Answers once it is awake."""

    def __init__(self) -> None:
        super().__init__()
        self.awake = asyncio.Event()
        self.waiting = 0
        self.cancelled = 0

    async def answer(self, model_id: str, call: Call, bill: Bill) -> Answer | Refusal:
        await self._wait(bill)
        return await super().answer(model_id, call, bill)

    async def stream(self, model_id: str, call: Call, bill: Bill) -> AsyncGenerator[StreamItem, None]:
        await self._wait(bill)
        async for item in super().stream(model_id, call, bill):
            yield item

    async def _wait(self, bill: Bill) -> None:
        self.waiting += 1
        try:
            await self.awake.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            bill(Usage())
            raise
        finally:
            self.waiting -= 1


@pytest.fixture
def upstream() -> SleepingUpstream:
    return SleepingUpstream()


@pytest.fixture
def board() -> SetBoard:
    return SetBoard({"chat": COLD})


@pytest.fixture
def config(config: AppConfig, monkeypatch: pytest.MonkeyPatch) -> AppConfig:
    monkeypatch.setattr(cold_start, "_LOOK_S", 0.01)
    monkeypatch.setattr(cold_start, "_FIRST_COMMENT_S", 0.02)
    patient = config.ingress.model_copy(
        update={
            "cold_start_timeout_s": 60.0,
            "max_waiting_for_load": 2,
            "loading_comment_interval_s": 0.02,
            "request_timeout_s": 60.0,
            "first_token_timeout_s": 60.0,
        }
    )
    return config.model_copy(update={"ingress": patient})


def changed(config: AppConfig, **ingress: float) -> AppConfig:
    return config.model_copy(update={"ingress": config.ingress.model_copy(update=ingress)})


@pytest.fixture
async def client(app: ASGIApp, token: str, board: SetBoard) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://ingress", headers=headers) as client:
        await state_is(client, "cold")
        yield client


async def state_is(client: httpx.AsyncClient, state: str) -> None:
    """Wait until the ingress has heard of the chat model's state."""
    async with asyncio.timeout(60):
        while (await client.get("/v1/models/chat")).json().get("state") != state:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def waiting(upstream: SleepingUpstream, count: int) -> None:
    """Wait until so many requests wait for the model."""
    async with asyncio.timeout(60):
        while upstream.waiting < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def ask(client: httpx.AsyncClient, *, stream: bool) -> httpx.Response:
    return await client.post("/v1/chat/completions", json={**CHAT, "stream": stream})


async def test_models_are_listed_with_their_states(client: httpx.AsyncClient) -> None:
    cards = {card["id"]: card for card in (await client.get("/v1/models")).json()["data"]}
    assert (cards["chat"]["state"], cards["chat"]["expected_load_s"]) == ("cold", 40.0)
    assert cards["qwen-max"]["state"] == "cold", "an alias is the model that it names"
    assert "state" not in cards["embed"], "nobody has told"


async def test_stream_is_told_how_long_it_will_be_and_then_answered(
    client: httpx.AsyncClient, upstream: SleepingUpstream, board: SetBoard, records: KeptRecords
) -> None:
    upstream.items = [FRAME, Usage(3, 2)]
    asking = asyncio.create_task(ask(client, stream=True))
    await waiting(upstream, 1)
    board.tell({"chat": LOADING})
    await asyncio.sleep(0.1)  # some comments' time
    upstream.awake.set()
    response = await asking

    assert response.status_code == 200
    comments = [line for line in response.text.split("\n\n") if line.startswith(": loading")]
    assert len(comments) >= 2
    assert comments[-1] == ": loading chat 0 s of about 28 s"
    assert FRAME.decode() in response.text
    assert response.text.endswith("data: [DONE]\n\n")
    (seen,) = [one for one in records.seen if one.stream]
    assert (seen.usage, seen.error) == (Usage(3, 2), "")


async def test_place_in_the_queue_for_gpus_is_told(
    client: httpx.AsyncClient, upstream: SleepingUpstream, board: SetBoard
) -> None:
    board.tell({"chat": ModelStatus(ModelState.COLD, ready_in_s=40.0, place_in_queue=3)})
    asking = asyncio.create_task(ask(client, stream=True))
    await waiting(upstream, 1)
    await asyncio.sleep(0.1)  # some comments' time
    upstream.items = [FRAME]
    upstream.awake.set()
    assert ", place 3 in the queue for GPUs" in (await asking).text


async def test_answer_without_a_stream_comes_when_the_model_is_loaded(
    client: httpx.AsyncClient, upstream: SleepingUpstream
) -> None:
    asking = asyncio.create_task(ask(client, stream=False))
    await waiting(upstream, 1)
    upstream.awake.set()
    assert (await asking).json() == {"object": "chat.completion"}


async def test_refusal_of_the_engine_after_the_load_is_an_event(
    client: httpx.AsyncClient, upstream: SleepingUpstream
) -> None:
    upstream.items = [Refusal(Reason.CONTEXT_LENGTH, "Too long.", "messages")]
    upstream.awake.set()
    text = (await ask(client, stream=True)).text
    assert '"code": "context_length_exceeded"' in text
    assert text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [True, False])
async def test_full_queue_refuses_with_the_time_to_wait(
    client: httpx.AsyncClient, upstream: SleepingUpstream, stream: bool
) -> None:
    asking = [asyncio.create_task(ask(client, stream=stream)) for _ in range(2)]
    await waiting(upstream, 2)
    refused = await ask(client, stream=stream)
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "model_loading"
    assert refused.headers["retry-after"] == "40"
    upstream.items = [FRAME]
    upstream.awake.set()
    assert [(await one).status_code for one in asking] == [200, 200]
    assert (await ask(client, stream=stream)).status_code == 200, "the queue is empty again"


@pytest.mark.parametrize("stream", [True, False])
async def test_load_that_fails_sends_away_those_that_wait(
    client: httpx.AsyncClient, upstream: SleepingUpstream, board: SetBoard, stream: bool
) -> None:
    asking = asyncio.create_task(ask(client, stream=stream))
    await waiting(upstream, 1)
    board.tell({"chat": FAILED})
    response = await asking
    assert response.status_code == (200 if stream else 503)
    assert '"code": "model_loading"' in response.text
    assert "try again in 18 s" in response.text
    assert "bucket" not in response.text, "why it failed is for administrators"
    assert upstream.cancelled == 1


async def test_model_that_failed_is_refused_until_it_is_tried_again(
    client: httpx.AsyncClient, upstream: SleepingUpstream, board: SetBoard
) -> None:
    board.tell({"chat": FAILED})
    await state_is(client, "failed")
    refused = await ask(client, stream=True)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "18")
    assert upstream.calls == []
    board.tell({"chat": COLD})
    await state_is(client, "cold")
    upstream.items = [FRAME]
    upstream.awake.set()
    assert (await ask(client, stream=True)).status_code == 200


class TestImpatient:
    """An ingress that waits for no load for long."""

    @pytest.fixture
    def config(self, config: AppConfig) -> AppConfig:
        return changed(config, cold_start_timeout_s=0.1)

    @pytest.mark.parametrize("stream", [True, False])
    async def test_load_that_takes_too_long_is_given_up(
        self, client: httpx.AsyncClient, upstream: SleepingUpstream, stream: bool
    ) -> None:
        response = await ask(client, stream=stream)
        assert response.status_code == (200 if stream else 503)
        assert '"code": "model_loading"' in response.text
        assert "could not be loaded within" in response.text
        assert upstream.cancelled == 1


class TestEngineThatIsSilent:
    """An ingress that waits for no first token for long."""

    @pytest.fixture
    def config(self, config: AppConfig) -> AppConfig:
        return changed(config, first_token_timeout_s=0.1)

    async def test_model_that_is_loaded_and_does_not_answer_is_given_up(
        self, client: httpx.AsyncClient, upstream: SleepingUpstream, board: SetBoard
    ) -> None:
        asking = asyncio.create_task(ask(client, stream=True))
        await waiting(upstream, 1)
        board.tell({"chat": HOT})
        text = (await asking).text
        assert '"code": "timeout"' in text
        assert upstream.cancelled == 1


async def test_client_that_leaves_while_it_waits_gives_up_its_place(
    client: httpx.AsyncClient, app: ASGIApp, upstream: SleepingUpstream, records: KeptRecords
) -> None:
    headers = {"authorization": client.headers["authorization"]}
    await leave_at_the_first_frame(app, headers, "/v1/chat/completions", CHAT)
    async with asyncio.timeout(60):
        while not upstream.cancelled:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    (seen,) = [one for one in records.seen if one.stream]
    assert seen.usage == Usage()
    asking = [asyncio.create_task(ask(client, stream=True)) for _ in range(2)]
    await waiting(upstream, 2)
    upstream.items = [FRAME]
    upstream.awake.set()
    assert [(await one).status_code for one in asking] == [200, 200]
