"""Whether the models that are needed at start are up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from ray import serve

_CACHE_S = 1.0


class Readiness:
    """Asks Serve's controller which models have a running replica.

    Args:
        deployments: Name of each model's Serve deployment, by model id.
        application: Name of the Serve application.
    """

    def __init__(self, deployments: Mapping[str, str], application: str) -> None:
        self._deployments = dict(deployments)
        self._application = application
        self._lock = asyncio.Lock()
        self._asked = -_CACHE_S
        self._models = dict.fromkeys(deployments, False)

    async def models(self) -> dict[str, bool]:
        """For each model id, whether a replica runs. At most one question a second reaches Ray."""
        async with self._lock:
            if time.monotonic() - self._asked >= _CACHE_S:
                self._models = await asyncio.to_thread(self._ask)
                self._asked = time.monotonic()
        return dict(self._models)

    def _ask(self) -> dict[str, bool]:
        application = serve.status().applications.get(self._application)
        running = {
            name: status.replica_states.get("RUNNING", 0) > 0
            for name, status in (application.deployments if application else {}).items()
        }
        return {model: running.get(name, False) for model, name in self._deployments.items()}
