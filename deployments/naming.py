"""What a model's Serve deployment is called."""

from __future__ import annotations

from typing import Final

_SERVER: Final = "ModelServer"
"""The class's name, which ``ray.serve.llm`` puts before the model's."""


def is_model(deployment: str) -> bool:
    """Whether a deployment of that name is a model's."""
    return deployment.startswith(f"{_SERVER}:")


def deployment_name(model_id: str) -> str:
    """The deployment's name, as ``ray.serve.llm.build_llm_deployment`` makes it of the model's id."""
    return f"{_SERVER}:{model_id.replace('/', '--').replace('.', '_')}"
