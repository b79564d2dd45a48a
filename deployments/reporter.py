"""What a replica tells the board of itself: how its load goes, why it failed, whether its engine sleeps."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from ray import serve
from ray.actor import ActorHandle

from deployments import board as boards
from deployments.board import Board, Report

logger = logging.getLogger("ray.serve")

_TOLD_WITHIN_S: Final = 5.0
"""A board that does not answer keeps no replica from starting, nor from saying why it does not."""

_REASON_CHARS: Final = 2000


class Reporter:
    """One replica's line to the board.

    Args:
        model: Whose replica it is.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._board: ActorHandle[Board] | None = None

    async def failed(self, error: BaseException) -> None:
        """The engine does not start."""
        reason = f"{type(error).__name__}: {error}"[:_REASON_CHARS]
        await self._tell(Report(self._model, failed=reason))

    async def loading(self, progress: str) -> None:
        """How the load goes."""
        await self._tell(Report(self._model, progress=progress))

    async def sleeping(self, *, asleep: bool) -> bool:
        """Whether the engine sleeps.

        Returns:
            Whether it shall.
        """
        return await self._tell(Report(self._model, sleeping=asleep))

    async def _tell(self, report: Report) -> bool:
        context = serve.get_replica_context()
        try:
            board: Any = self._board or await asyncio.to_thread(boards.find, context.app_name)
            self._board = board
            answer = board.report.remote(context.replica_id.unique_id, report)
            return bool(await asyncio.wait_for(answer, _TOLD_WITHIN_S))
        except Exception as error:  # telling is never worth a replica
            logger.warning("The fleet's board cannot be reached", extra={"why": str(error)})
            self._board = None
            return report.sleeping
