"""Three models with real engines on the CPU, and room for two of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from cluster.local import processes, session
from tests import machine
from tests.integration.conftest import ROOT, Application
from tests.integration.fleet_clients import FleetClient, fleet_of

logger = logging.getLogger(__name__)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]

ROOM = 2
QUIET_S = 2
AFTER_LOAD_S = 3.0
MODELS = ("demo-chat", "demo-embedding", "demo-reranker")


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """``serve_config.yaml`` without the vision model; nothing is loaded until somebody asks."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "serve_config.yaml").read_text(encoding="utf-8"))
    args = content["applications"][0]["args"]
    args["models"] = [model for model in args["models"] if model["id"] in MODELS]
    for model in args["models"]:
        model["autoscale"] = {"min_replicas": 0}
    del args["aliases"]
    args["fleet"] = {
        "cpu_engines_per_node": ROOM,
        "min_residency_s": QUIET_S,
        "quiet_s": QUIET_S,
        "idle_unload_min_s": QUIET_S,
        "idle_unload_s": 60,
    }
    folder = tmp_path_factory.mktemp("engines")
    with fleet_of(folder, content) as application:
        yield application


def ask(application: Application, model: str) -> httpx.Response:
    """What each of them is for."""
    headers = {"authorization": f"Bearer {application.token}"}
    asked: dict[str, tuple[str, dict[str, Any]]] = {
        "demo-chat": (
            "chat/completions",
            {"messages": [{"role": "user", "content": "What is the capital of France?"}], "temperature": 0},
        ),
        "demo-embedding": ("embeddings", {"input": "hello"}),
        "demo-reranker": ("rerank", {"query": "What is the capital of France?", "documents": ["Paris", "x"]}),
    }
    path, body = asked[model]
    url = f"{application.url}/v1/{path}"
    return httpx.post(url, headers=headers, json={"model": model, **body}, timeout=600)


def engines(application: Application) -> int:
    """Replicas of models that there are on this machine, as the system tells them."""
    assert application.state is not None
    current = session.recorded(application.state)
    assert current is not None
    lines = [Path(f"/proc/{one.pid}/cmdline") for one in processes.find(current.id)]
    names = [line.read_bytes() for line in lines if line.exists()]
    return sum(name.startswith(b"ray::ServeReplica:qwen-serve:ModelServer") for name in names)


def test_third_model_takes_the_place_of_an_idle_one(application: Application) -> None:
    client = FleetClient(application)
    assert engines(application) == 0
    assert {card["state"] for card in client.cards().values()} == {"cold"}
    late, most = {}, 0
    for model in (*MODELS, MODELS[0]):
        time.sleep(QUIET_S + 1)  # a pause of the clients; who came before may give way after it
        begun = time.monotonic()
        answer = ask(application, model)
        took_s = time.monotonic() - begun
        assert answer.status_code == 200, answer.text
        if model == "demo-chat":
            assert "Paris" in answer.json()["choices"][0]["message"]["content"]
        client.await_state(model, "hot", 10)
        most = max(most, engines(application))
        if model not in late:  # the second load is averaged with the first
            late[model] = took_s - client.state(model)["expected_load_s"]
    logger.info("answer after the load, s: %s", {name: round(one, 2) for name, one in late.items()})
    assert max(late.values()) <= AFTER_LOAD_S * machine.slowness()
    assert most == ROOM
    assert any(one["action"] == "evict" for one in client.fleet()["decisions"])
    assert client.fleet()["gpus"]["CPU"]["total"] == ROOM


def test_models_that_nobody_asks_are_unloaded(application: Application) -> None:
    client = FleetClient(application)
    for model in MODELS:
        client.await_state(model, "cold", 240)
    deadline = time.monotonic() + 60
    while engines(application):
        assert time.monotonic() < deadline
        time.sleep(0.5)  # between two looks
    assert ask(application, "demo-chat").status_code == 200, "and comes back"
