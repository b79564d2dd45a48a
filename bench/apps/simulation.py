"""The simulated engine as the peers use it, with the configuration that `configs/simulated.yaml` gives it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import yaml
from ray.llm._internal.serve.core.configs.openai_api_models import ChatCompletionRequest
from ray.serve.llm import LLMConfig, ModelLoadingConfig

from deployments.config import ModelConfig
from deployments.simulated.engine import SimulatedEngine

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "simulated.yaml"


def model() -> ModelConfig:
    """The model of `configs/simulated.yaml`."""
    document = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    return ModelConfig.model_validate(document["applications"][0]["args"]["models"][0])


class RayLlmEngine(SimulatedEngine):
    """For ``ray.serve.llm`` as shipped, which takes an engine's class by its import path.

    Args:
        llm_config: Of the model.
    """

    def __init__(self, llm_config: LLMConfig) -> None:
        simulated = model()
        assert simulated.simulation is not None
        super().__init__(llm_config, simulated.simulation, simulated.max_model_len)


class Streams:
    """Streams of frames from a simulated engine, by the body of a chat request."""

    def __init__(self) -> None:
        self.model_id = model().id
        source = ModelLoadingConfig(model_id=self.model_id, model_source=self.model_id)
        self._engine = RayLlmEngine(LLMConfig(model_loading_config=source))
        self._started = False

    async def chat(self, body: dict[str, Any]) -> AsyncIterator[str]:
        """The frames of a streamed chat."""
        if not self._started:
            self._started = True
            await self._engine.start()
        async for frame in self._engine.chat(ChatCompletionRequest.model_validate(body)):
            yield frame
