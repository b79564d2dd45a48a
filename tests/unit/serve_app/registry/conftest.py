"""A registry on SQLite, and one whose answers the test can stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import ActorUnavailableError

from serve_app.limits import Batch, Grant, LimitsConfig
from serve_app.registry import Registry
from serve_app.registry.fault import Fault
from serve_app.registry.operations import Operation
from serve_app.store import StoreConfig


class Clock:
    """Monotonic seconds, as the test says."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Line:
    """The registry behind a connection that the test cuts: before it is asked, or before it has answered."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.asks = 0
        self.is_cut = False
        self.loses_answers = False
        self.held: asyncio.Event | None = None

    async def run(self, operation: Operation[Any]) -> Any:
        self.asks += 1
        if self.is_cut:
            raise ActorUnavailableError("The registry is being restarted.", None)
        answer = await self._registry.run(operation)
        if self.held is not None:
            await self.held.wait()
        if self.loses_answers:
            raise ActorUnavailableError("The connection broke.", None)
        return answer

    async def grant(self, batch: Batch) -> tuple[Grant, ...] | Fault:
        if self.is_cut:
            raise ActorUnavailableError("The registry is being restarted.", None)
        return await self._registry.grant(batch)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store" / "store.db"


@pytest.fixture
async def registry(path: Path, clock: Clock) -> AsyncIterator[Registry]:
    registry = Registry(StoreConfig(url=f"sqlite:///{path}", timeout_s=0.1), LimitsConfig(), clock)
    yield registry
    await registry.close()


@pytest.fixture
def line(registry: Registry) -> Line:
    return Line(registry)
