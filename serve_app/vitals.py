"""What an ingress replica knows of the state of things around it, told every few seconds: to its metrics."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from deployments.fleet import ModelState

INTERVAL_S: Final = 2.0
"""Ray forgets a gauge that nobody sets for a while, so all are told each time, changed or not."""

_log = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class Vitals:
    """The state of things at one moment.

    Attributes:
        ledger_away: Whether the ledger of the limits does not answer.
        states: Of each model, as far as the fleet policy has told.
        waiting: Requests of this replica that wait for a model to load, by model.
        gpus: In use and in all, by accelerator type.
    """

    ledger_away: bool
    states: Mapping[str, ModelState]
    waiting: Mapping[str, int]
    gpus: Mapping[str, tuple[float, float]]


class VitalsWatch:
    """Tells the vitals in the background. Belongs to one event loop.

    Args:
        look: How things are now.
        tell: Takes them.
    """

    def __init__(self, look: Callable[[], Vitals], tell: Callable[[Vitals], None] | None) -> None:
        self._look = look
        self._tell = tell
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, where somebody wants to be told."""
        if self._tell is not None:
            self._watching = asyncio.create_task(self._watch(self._tell))

    async def close(self) -> None:
        """Stop."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching

    async def _watch(self, tell: Callable[[Vitals], None]) -> None:
        while True:
            try:
                tell(self._look())
            except Exception:  # a figure that cannot be told must not end all others
                _log.exception("Vitals: the state of things cannot be told")
            await asyncio.sleep(INTERVAL_S)
