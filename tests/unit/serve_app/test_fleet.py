"""The fleet as an ingress follows it on the board, and the catalogue as it follows the configuration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from ray.exceptions import RayError
from starlette.types import ASGIApp

from deployments.board import ModelStatus, Snapshot
from deployments.config import ModelConfig, ModelKind
from deployments.fleet import FleetConfig, FleetModel, ModelState
from serve_app import fleet as fleets
from serve_app.catalogue import Catalogue
from serve_app.config import AppConfig, CatalogueConfig
from serve_app.fleet import Fleet, described
from serve_app.usage.prices import PriceConfig
from tests.unit.serve_app.conftest import ScriptedUpstream
from tests.unit.serve_app.fleet import CONFIG, SetBoard, fleet_of

HOT = ModelStatus(ModelState.HOT, replicas=1, load_s=12.34)
COLD = ModelStatus(ModelState.COLD, load_s=12.34)


@asynccontextmanager
async def following(fleet: Fleet) -> AsyncIterator[Fleet]:
    fleet.start()
    try:
        yield fleet
    finally:
        await fleet.close()


async def until(fleet: Fleet, state: ModelState) -> None:
    async with asyncio.timeout(30):
        while (status := fleet.status("chat")) is None or status.state is not state:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_fleet_follows_the_board() -> None:
    board = SetBoard({"chat": COLD})
    assert fleet_of(board).status("chat") is None
    async with following(fleet_of(board)) as fleet:
        await until(fleet, ModelState.COLD)
        board.tell({"chat": HOT})
        await until(fleet, ModelState.HOT)
        assert fleet.gpus == {"A100": (1.5, 4.0)}
        assert board.configured == [CONFIG], "told once, at the start"


async def test_changed_models_are_told() -> None:
    board = SetBoard({"chat": COLD})
    configs = [CONFIG]
    other = FleetConfig(models=(FleetModel(id="chat"), FleetModel(id="vl")))
    async with following(Fleet(board, lambda: configs[-1])) as fleet:
        await until(fleet, ModelState.COLD)
        configs.append(other)
        board.tell({"chat": HOT})
        await until(fleet, ModelState.HOT)
        async with asyncio.timeout(30):
            while board.configured != [CONFIG, other]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


class LostBoard(SetBoard):
    """It is started anew after a while: it cannot be reached at first, and then knows nothing."""

    def __init__(self) -> None:
        super().__init__({"chat": COLD})
        self.lost = 2

    async def watch(self, version: int) -> Snapshot:
        if self.lost:
            self.lost -= 1
            raise RayError("the actor died")
        if len(self.configured) < 2:
            return Snapshot(version=version + 1, configured=False)
        return await super().watch(version)

    async def reasons(self) -> list[dict[str, Any]]:
        raise RayError("the actor died")


async def test_board_that_is_lost_is_asked_again_and_told_the_models(monkeypatch: Any) -> None:
    monkeypatch.setattr(fleets, "_RETRY_S", 0.01)
    async with following(fleet_of(LostBoard())) as fleet:
        await until(fleet, ModelState.COLD)
        assert await fleet.reasons() == []


def test_administrators_are_told_all_that_is_known() -> None:
    failed = ModelStatus(ModelState.FAILED, load_s=12.34, retry_in_s=7.77, error="no such key")
    assert described(failed, up=False) == {
        "state": "failed",
        "replicas": 0,
        "expected_load_s": 12.3,
        "retry_in_s": 7.8,
        "error": "no such key",
    }
    assert described(None, up=True) == {"state": "running"}
    assert described(None, up=False) == {"state": "starting"}


def changed(config: AppConfig) -> CatalogueConfig:
    """Without vl, with one more, another alias and a price."""
    new = ModelConfig(id="new", source="models/new", kind=ModelKind.TEXT, max_model_len=64)
    models = (*(model for model in config.models if model.id != "vl"), new)
    prices = {
        "new": PriceConfig.model_validate(
            {"input_cny_per_million_tokens": "1", "output_cny_per_million_tokens": "2"}
        )
    }
    return CatalogueConfig(models=models, aliases={"qwen-max": "new"}, prices=prices)


async def test_requests_find_the_changed_catalogue(
    app: ASGIApp, catalogue: Catalogue, config: AppConfig, upstream: ScriptedUpstream, token: str
) -> None:
    headers = {"authorization": f"Bearer {token}"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://ingress", headers=headers) as client:

        async def ask(model: str) -> int:
            body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
            return (await client.post("/v1/chat/completions", json=body)).status_code

        assert (await ask("new"), await ask("vl"), await ask("qwen-max")) == (404, 200, 200)
        catalogue.follow(changed(config))
        assert (await ask("new"), await ask("vl"), await ask("qwen-max")) == (200, 404, 200)
        names = [card["id"] for card in (await client.get("/v1/models")).json()["data"]]
        assert names == ["chat", "embed", "rank", "new", "qwen-max"]
    assert catalogue.prices.keys() == {"new"}
    assert [model.id for model in catalogue.fleet.models] == ["chat", "embed", "rank", "new"]


async def test_ready_waits_only_for_models_that_always_run(
    app: ASGIApp, catalogue: Catalogue, config: AppConfig, models_up: dict[str, bool]
) -> None:
    models_up["vl"] = False
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://ingress") as client:
        assert (await client.get("/ready")).json()["models"] == {"chat": True, "vl": False}
        rare = {"autoscale": {"min_replicas": 0}}
        models = tuple(
            ModelConfig.model_validate({**model.model_dump(), **rare}) if model.id == "vl" else model
            for model in config.models
        )
        catalogue.follow(CatalogueConfig(models=models))
        ready = await client.get("/ready")
        assert (ready.status_code, ready.json()["models"]) == (200, {"chat": True})
