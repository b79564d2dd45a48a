"""The simulated engine behind uvicorn alone: the floor, which has no framework."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from bench.endpoint import Endpoint
from bench.peers import peer, server
from bench.peers.peer import Running


@dataclass(frozen=True, slots=True)
class Bare:
    """One uvicorn process; see `bench.apps.bare`.

    Attributes:
        model: The id of the simulated model.
    """

    model: str
    name: str = "bare uvicorn"
    counted: str = "its one process, the simulated engine included"

    def running(self, folder: Path) -> AbstractContextManager[Running]:
        """Start it."""
        port = peer.free_port()
        command = [sys.executable, "-m", "bench.apps.bare", "--port", str(port)]
        return server.serving(self.name, command, {}, Endpoint(port, "none", self.model), folder)
