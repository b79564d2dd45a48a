"""vLLM's own server, with the engine arguments that this project gives to the same model."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.endpoint import LOOPBACK, Endpoint
from bench.peers import peer, server
from bench.peers.peer import Running
from deployments import build
from deployments.config import ModelConfig


@dataclass(frozen=True, slots=True)
class Vllm:
    """``vllm.entrypoints.openai.api_server``.

    Attributes:
        model: With a folder as source.
    """

    model: ModelConfig
    name: str = "bare vLLM"
    counted: str = "its API server; not the engine core nor the engine's worker"

    def running(self, folder: Path) -> AbstractContextManager[Running]:
        """Start it."""
        port = peer.free_port()
        command = [
            *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", LOOPBACK),
            *("--port", str(port), "--model", self.model.source, "--served-model-name", self.model.id),
            *flags(build.engine_kwargs(self.model)),
        ]
        endpoint = Endpoint(port, "none", self.model.id)
        return server.serving(self.name, command, environment(self.model), endpoint, folder)


def environment(model: ModelConfig) -> dict[str, str]:
    """Variables of an engine on the CPU whose model lies on this machine."""
    return {**build.environment(model), "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}


def flags(engine_kwargs: Mapping[str, Any]) -> list[str]:
    """Engine arguments as vLLM's command line takes them."""
    return list(_flags(engine_kwargs))


def _flags(engine_kwargs: Mapping[str, Any]) -> Iterator[str]:
    for name, value in engine_kwargs.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            yield flag if value else f"--no-{flag.removeprefix('--')}"
        else:
            yield flag
            yield json.dumps(value) if isinstance(value, dict | list) else str(value)
