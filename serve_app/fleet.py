"""The fleet as an ingress replica knows it: each model's state, as the policy tells it on the board."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ray.actor import ActorHandle
from ray.exceptions import RayError

from deployments import board as boards
from deployments.board import Board, ModelStatus, Snapshot
from deployments.fleet import FleetConfig

_log = logging.getLogger("ray.serve")

_RETRY_S = 1.0


class BoardAccess(Protocol):
    """The board, as far as an ingress asks it."""

    async def configure(self, config: FleetConfig) -> None:
        """Tell the models and the rules."""

    async def watch(self, version: int) -> Snapshot:
        """The fleet, once it is another than that."""

    async def reasons(self) -> list[dict[str, Any]]:
        """The latest decisions."""


class RayBoard:
    """The board over Ray.

    Args:
        application: Whose it is.
    """

    def __init__(self, application: str) -> None:
        self._application = application
        self._actor: ActorHandle[Board] | None = None

    async def configure(self, config: FleetConfig) -> None:
        """See ``BoardAccess``."""
        await self._ask("configure", config)

    async def watch(self, version: int) -> Snapshot:
        """See ``BoardAccess``."""
        snapshot: Snapshot = await self._ask("watch", version)
        return snapshot

    async def reasons(self) -> list[dict[str, Any]]:
        """See ``BoardAccess``."""
        reasons: list[dict[str, Any]] = await self._ask("reasons")
        return reasons

    async def _ask(self, method: str, *arguments: Any) -> Any:
        if self._actor is None:
            self._actor = await asyncio.to_thread(boards.find, self._application)
        try:
            return await getattr(self._actor, method).remote(*arguments)
        except RayError:
            self._actor = None  # looked for again
            raise


def described(status: ModelStatus | None, *, up: bool) -> dict[str, Any]:
    """A model's state, for administrators.

    Args:
        status: As the policy tells it; None where there is none.
        up: Whether a replica runs, for then.
    """
    if status is None:
        return {"state": "running" if up else "starting"}
    told = {
        "state": status.state.value,
        "replicas": status.replicas,
        "expected_load_s": round(status.load_s, 1),
        "loading_since": status.loading_since,
        "progress": status.progress,
        "place_in_queue": status.place_in_queue,
        "retry_in_s": status.retry_in_s and round(status.retry_in_s, 1),
        "error": status.error,
    }
    return {key: value for key, value in told.items() if value is not None}


class Fleet:
    """Follows the board.

    Args:
        board: Where the policy tells.
        config: The models and the rules as this replica knows them now.
    """

    def __init__(self, board: BoardAccess, config: Callable[[], FleetConfig]) -> None:
        self._board = board
        self._config = config
        self._snapshot = Snapshot()
        self._following: asyncio.Task[None] | None = None

    def status(self, model_id: str) -> ModelStatus | None:
        """A model's state; None while the policy has told nothing of it."""
        return self._snapshot.statuses.get(model_id)

    @property
    def gpus(self) -> Mapping[str, tuple[float, float]]:
        """In use and in all, by accelerator type."""
        return self._snapshot.gpus

    async def reasons(self) -> list[dict[str, Any]]:
        """The policy's latest decisions, newest first; empty while nobody can tell."""
        try:
            return await self._board.reasons()
        except RayError:
            return []

    def start(self) -> None:
        """Begin to follow."""
        self._following = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Stop following."""
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following

    async def _follow(self) -> None:
        told: FleetConfig | None = None
        while True:
            try:
                config = self._config()
                if config != told or not self._snapshot.configured:
                    await self._board.configure(config)
                    told = config
                self._snapshot = await self._board.watch(self._snapshot.version)
            except Exception as error:  # whatever it is: without this task no state is ever known again
                _log.warning("The fleet's board cannot be reached: %s", error)
                await asyncio.sleep(_RETRY_S)
