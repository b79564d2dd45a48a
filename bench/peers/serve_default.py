"""Ray Serve's default streaming path: Python proxy, ingress, a handle's generator; simulated engine."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from bench.peers import ray_app
from bench.peers.peer import Running


@dataclass(frozen=True, slots=True)
class ServeDefault:
    """Two deployments; see `bench.apps.serve_stream`.

    Attributes:
        model: The id of the simulated model.
    """

    model: str
    name: str = "Serve default"
    counted: str = "all processes of its Ray, the simulated engine included"

    def running(self, folder: Path) -> AbstractContextManager[Running]:
        """Start it."""
        return ray_app.serving(self.name, "bench.apps.serve_stream:build", {}, self.model, folder)
