"""What an ingress tells of the state of things, composed as it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest
from starlette.applications import Starlette

from deployments.board import ModelStatus
from deployments.fleet import ModelState
from serve_app import vitals
from serve_app.catalogue import Catalogue
from serve_app.config import AppConfig
from serve_app.ingress import compose
from serve_app.limits import Batch, Grant, LedgerConfig, LedgerUnavailable, LimitRule, LimitsConfig
from serve_app.registry import Registry, RegistryClient
from serve_app.vitals import Vitals, VitalsWatch
from tests.unit.serve_app.conftest import REPLICA, KeptRecords, ScriptedUpstream, running
from tests.unit.serve_app.fleet import SetBoard, fleet_of
from tests.unit.serve_app.test_audit_wiring import CHAT, CHAT_PATH, bearer, changed
from tests.unit.serve_app.test_cold_start import LOADING, SleepingUpstream

DEADLINE_S = 30.0
HOT = ModelStatus(ModelState.HOT, replicas=1)


async def until(told: list[Vitals], holds: Callable[[Vitals], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not told or not holds(told[-1]):  # noqa: ASYNC110  (told by a task of the application)
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vitals, "INTERVAL_S", 0.02)


async def test_models_queues_and_gpus_are_told_as_they_are(config: AppConfig, registry: Registry) -> None:
    told: list[Vitals] = []
    patient = changed(config, "ingress", request_timeout_s=60.0, cold_start_timeout_s=60.0)
    board, upstream = SetBoard({"chat": LOADING, "vl": HOT}), SleepingUpstream()
    app = ingress(patient, RegistryClient(registry), upstream, board, told)
    async with running(app):
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://ingress", headers=bearer(config, "zhangsan")
        )
        await until(told, lambda now: now.states.get("chat") is ModelState.LOADING)
        assert told[-1].states == {"chat": ModelState.LOADING, "vl": ModelState.HOT}
        assert told[-1].gpus == {"A100": (1.5, 4.0)}
        assert set(told[-1].waiting.items()) == {("chat", 0), ("vl", 0), ("embed", 0), ("rank", 0)}

        asked = [asyncio.create_task(client.post(CHAT_PATH, json=CHAT)) for _ in range(3)]
        await until(told, lambda now: now.waiting["chat"] == 3)
        board.tell({"chat": HOT, "vl": HOT})
        upstream.awake.set()
        await asyncio.gather(*asked)
        await until(told, lambda now: now.waiting["chat"] == 0 and now.states["chat"] is ModelState.HOT)


async def test_ledger_that_goes_away_is_told_and_so_is_its_return(
    config: AppConfig, registry: Registry
) -> None:
    rule = LimitRule.model_validate({"scope": "user", "requests_per_minute": 1000})
    ledger = LedgerConfig(sync_interval_s=0.05, sync_timeout_s=0.2)
    config = config.model_copy(update={"limits": LimitsConfig(rules=(rule,), ledger=ledger)})
    told: list[Vitals] = []
    line = CutLine(registry)
    app = ingress(config, line, ScriptedUpstream(), SetBoard({"chat": HOT}), told)
    async with running(app):
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://ingress", headers=bearer(config, "zhangsan")
        )
        await client.post(CHAT_PATH, json=CHAT)
        await until(told, lambda now: not now.ledger_away)
        line.cut = True
        async with asyncio.timeout(DEADLINE_S):
            while not told[-1].ledger_away:
                await client.post(CHAT_PATH, json=CHAT)
                await asyncio.sleep(0.01)
        line.cut = False
        await until(told, lambda now: not now.ledger_away)


async def test_figure_that_cannot_be_told_does_not_end_the_others() -> None:
    looks: list[int] = []
    told: list[Vitals] = []

    def look() -> Vitals:
        looks.append(1)
        if len(looks) == 1:
            raise RuntimeError("not yet")
        return Vitals(False, {}, {}, {})

    watch = VitalsWatch(look, told.append)
    watch.start()
    await until(told, lambda _: True)
    await watch.close()


class CutLine(RegistryClient):
    """The way to the registry, which the test can cut for the ledger's batches."""

    cut = False

    async def sync(self, batch: Batch) -> tuple[Grant, ...]:
        if self.cut:
            raise LedgerUnavailable("the line is cut")
        return await super().sync(batch)


def ingress(
    config: AppConfig, line: RegistryClient, upstream: ScriptedUpstream, board: SetBoard, told: list[Vitals]
) -> Starlette:
    async def up() -> dict[str, bool]:
        return {}

    return compose(
        config,
        upstream,
        KeptRecords(),
        up,
        line,
        replica_id=REPLICA,
        catalogue=Catalogue(config.catalogue),
        fleet=fleet_of(board),
        on_vitals=told.append,
    )
