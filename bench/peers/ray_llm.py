"""``ray.serve.llm.build_openai_app`` as shipped, with this project's engine arguments for the same model."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.peers import ray_app
from bench.peers.peer import Running
from bench.peers.vllm import environment
from deployments import build
from deployments.config import ModelConfig

_ENGINE_VARIABLE = "RAYLLM_VLLM_ENGINE_CLS"
_SIMULATED = "bench.apps.simulation.RayLlmEngine"


@dataclass(frozen=True, slots=True)
class RayLlm:
    """Ray's own ingress and server, with Ray's own limits, batching of streams and proxy.

    Attributes:
        model: With a folder as source, or simulated.
    """

    model: ModelConfig
    name: str = "ray.serve.llm"

    @property
    def counted(self) -> str:
        """Which processes are counted."""
        if self.model.simulation is None:
            return "all processes of its Ray; not the engine core nor the engine's worker"
        return "all processes of its Ray, the simulated engine included"

    def running(self, folder: Path) -> AbstractContextManager[Running]:
        """Start it."""
        args = {"llm_configs": [self._llm_config()]}
        return ray_app.serving(self.name, "ray.serve.llm:build_openai_app", args, self.model.id, folder)

    def _llm_config(self) -> dict[str, Any]:
        simulated = self.model.simulation is not None
        variables = {_ENGINE_VARIABLE: _SIMULATED} if simulated else environment(self.model)
        source = self.model.source if simulated else str(Path(self.model.source).resolve())
        return {
            "model_loading_config": {"model_id": self.model.id, "model_source": source},
            "engine_kwargs": build.engine_kwargs(self.model),
            "placement_group_config": {"bundles": [{"CPU": 1.0}]},
            "accelerator_config": {"kind": "cpu"},
            "runtime_env": {"env_vars": variables},
        }
