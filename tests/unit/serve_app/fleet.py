"""A fleet for tests of what is around it: a board that tells what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from deployments.board import ModelStatus, Snapshot
from deployments.fleet import FleetConfig, FleetModel
from serve_app.fleet import Fleet

CONFIG = FleetConfig(models=(FleetModel(id="chat"),))


class SetBoard:
    """Tells what it is set to, and keeps what it is told."""

    def __init__(self, statuses: Mapping[str, ModelStatus]) -> None:
        self.configured: list[FleetConfig] = []
        self.decisions: list[dict[str, Any]] = []
        self._snapshot = Snapshot()
        self._changed = asyncio.Event()
        self.tell(statuses)

    def tell(self, statuses: Mapping[str, ModelStatus]) -> None:
        """Another state of things from now on."""
        self._snapshot = Snapshot(self._snapshot.version + 1, True, dict(statuses), {"A100": (1.5, 4.0)})
        self._changed.set()
        self._changed = asyncio.Event()

    async def configure(self, config: FleetConfig) -> None:
        """See ``BoardAccess``."""
        self.configured.append(config)

    async def watch(self, version: int) -> Snapshot:
        """See ``BoardAccess``."""
        if version == self._snapshot.version:
            await self._changed.wait()
        return self._snapshot

    async def reasons(self) -> list[dict[str, Any]]:
        """See ``BoardAccess``."""
        return self.decisions


def fleet_of(board: SetBoard) -> Fleet:
    """A fleet that follows it."""
    return Fleet(board, lambda: CONFIG)
