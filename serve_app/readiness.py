"""Whether the models are up."""

from __future__ import annotations

import asyncio
import time

from ray import serve

from deployments.naming import deployment_name
from serve_app.models import ModelTable

_CACHE_S = 1.0


class Readiness:
    """Asks Serve's controller which models have a running replica.

    Args:
        models: What there is; may change.
        application: Name of the Serve application.
    """

    def __init__(self, models: ModelTable, application: str) -> None:
        self._table = models
        self._application = application
        self._lock = asyncio.Lock()
        self._asked = -_CACHE_S
        self._models: dict[str, bool] = {}

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
        return {model.id: running.get(deployment_name(model.id), False) for model in self._table.configs()}
