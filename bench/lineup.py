"""Who is measured against whom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from bench.peers.bare import Bare
from bench.peers.litellm import LiteLlm
from bench.peers.peer import Peer, Running
from bench.peers.project import Project
from bench.peers.ray_llm import RayLlm
from bench.peers.serve_default import ServeDefault
from bench.peers.vllm import Vllm
from deployments.config import ModelConfig

SIMULATED = Path("configs/simulated.yaml")
REAL = Path("serve_config.yaml")

Start = Callable[[Peer], Running]
Line = list[tuple[Peer, Running]]


def simulated(start: Start) -> Line:
    """The simulated engine behind uvicorn alone, and behind every framework that can take it."""
    model = first_model(SIMULATED)
    bare = Bare(model.id)
    floor = start(bare)
    others: tuple[Peer, ...] = (
        Project(SIMULATED, model.id),
        ServeDefault(model.id),
        RayLlm(model),
        LiteLlm(floor),
    )
    return [(bare, floor), *((peer, start(peer)) for peer in others)]


def real(start: Start) -> Line:
    """The demonstration chat model on vLLM's CPU engine, with the same engine arguments everywhere."""
    model = first_model(REAL)
    bare = Vllm(model)
    floor = start(bare)
    others: tuple[Peer, ...] = (Project(REAL, model.id), RayLlm(model), LiteLlm(floor))
    return [(bare, floor), *((peer, start(peer)) for peer in others)]


def first_model(config: Path) -> ModelConfig:
    """The first model of a configuration of this project."""
    document: dict[str, Any] = yaml.safe_load(config.read_text(encoding="utf-8"))
    return ModelConfig.model_validate(document["applications"][0]["args"]["models"][0])
