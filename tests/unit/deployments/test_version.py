"""Versions of deployments: they change with what their replicas depend on, and with nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from ray import serve
from ray.serve import Application
from ray.serve._private.build_app import build_app as build_serve_app
from ray.serve._private.config import DeploymentConfig
from ray.serve._private.deploy_utils import get_deploy_args

from deployments.version import digest, pin
from serve_app.app import build_app
from serve_app.auth import secret
from serve_app.config import AppConfig


class _Thing:
    """Some deployment."""


Thing: Any = serve.deployment(_Thing, name="Thing")


class Part(BaseModel):
    """Some configuration."""

    size: int


def version(application: Application) -> str:
    """The version that reaches Serve's controller, which the application's own does not replace."""
    (deployment,) = build_serve_app(application, name="qwen-serve").deployments
    arguments = get_deploy_args(
        deployment.name,
        deployment._replica_config,
        deployment_config=deployment._deployment_config,
        version="the application's",
    )
    config = DeploymentConfig.from_proto_bytes(arguments["deployment_config_proto_bytes"])
    return str(config.version)


def test_serve_keeps_the_deployments_own_version() -> None:
    assert version(pin(Thing.bind(), Part(size=1))) == digest("Thing", Part(size=1))
    assert version(Thing.bind()) == "the application's"


def test_version_follows_what_it_depends_on() -> None:
    one = version(pin(Thing.bind(), Part(size=1)))
    assert version(pin(Thing.bind(), Part(size=1))) == one
    assert version(pin(Thing.bind(), Part(size=2))) != one
    assert version(pin(Thing.options(name="Other").bind(), Part(size=1))) != one


def test_options_survive() -> None:
    pinned = pin(Thing.options(max_ongoing_requests=7, user_config={"a": 1}).bind(), "x")
    (deployment,) = build_serve_app(pinned, name="qwen-serve").deployments
    assert deployment._deployment_config.max_ongoing_requests == 7
    assert deployment._deployment_config.user_config == {"a": 1}


def versions(config: dict[str, object]) -> dict[str, str]:
    """By deployment, as the application builds them."""
    application = build_app(AppConfig.model_validate(config))
    deployments = build_serve_app(application, name="qwen-serve").deployments
    return {one.name: str(one._deployment_config.version) for one in deployments}


@pytest.fixture
def config(tmp_path: Path) -> dict[str, object]:
    file = tmp_path / "jwt.key"
    secret.ensure(file)
    models = [
        {"id": name, "source": "simulated", "kind": "text", "simulation": {"step_s": 0.01}} for name in "ab"
    ]
    return {"allow_simulated_models": True, "auth": {"secret_file": str(file)}, "models": models}


def test_a_model_that_is_added_changes_nobody_elses_version(config: dict[str, object]) -> None:
    models = config["models"]
    assert isinstance(models, list)
    before = versions(config)
    after = versions({**config, "models": [*models, models[0] | {"id": "c"}], "aliases": {"x": "c"}})
    assert after.keys() - before.keys() == {"ModelServer:c"}
    assert {name: after[name] for name in before} == before


def test_a_changed_model_changes_its_own_version_only(config: dict[str, object]) -> None:
    models = config["models"]
    assert isinstance(models, list)
    before = versions(config)
    after = versions({**config, "models": [models[0] | {"max_model_len": 512}, models[1]]})
    assert {name for name in before if after[name] != before[name]} == {"ModelServer:a"}


def test_what_the_ingress_depends_on_restarts_the_ingress_only(config: dict[str, object]) -> None:
    before = versions(config)
    after = versions({**config, "ingress": {"max_choices": 3}})
    assert {name for name in before if after[name] != before[name]} == {"Ingress"}
