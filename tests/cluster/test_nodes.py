"""A cluster of four machines under load: a machine that dies, a head that restarts, a change that rolls.

The machines are network namespaces with addresses of their own, or several raylets where namespaces are not
allowed (`hosts.py`), joined by `ray start` with a token, HAProxy on each as `qwen-serve node prepare` has it.
GPUs exist in name only, and engines are simulated.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from serve_app.auth import secret
from serve_app.cli.token import issue
from serve_app.serve_file import keep_files_in, load
from tests import machine
from tests.cluster.machines import ROOT, Cluster, Machine, cluster
from tests.integration.conftest import Application
from tests.integration.fleet_clients import Asked, FleetClient

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]
logger = logging.getLogger(__name__)

MACHINES: Final = {
    "head": Machine(cpus=0),
    # Where the ingress and the registry are: a machine that clients reach.
    "a100": Machine(cpus=8, gpus=2, resources={"accelerator_type:A100": 1, "gateway": 1}),
    "a10-1": Machine(cpus=8, gpus=2, resources={"accelerator_type:A10": 1}),
    "a10-2": Machine(cpus=8, gpus=2, resources={"accelerator_type:A10": 1}),
}
RUNNING_WITHIN_S: Final = 300
BACK_WITHIN_S: Final = 90.0
"""A model whose machine has died, on another one. The default health checks of Ray and Serve and the load."""
HEAD_AWAY_S: Final = 20.0
STEP_S: Final = 0.05
LONG_TOKENS: Final = 300
"""A stream of fifteen seconds."""


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> None:
    logging.getLogger("httpx").setLevel(logging.WARNING)


def configuration(folder: Path) -> dict[str, Any]:
    """One model for the A100 machine, two for the A10 machines; the ingress where clients come."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "configs" / "fleet.yaml").read_text(encoding="utf-8"))
    content["proxy_location"] = "EveryNode"
    content["http_options"]["host"] = "0.0.0.0"
    (application,) = content["applications"]
    args = application["args"]
    keep_files_in(folder, args)
    args["accelerators"] = {
        "A100": {"gpus_per_node": 2, "memory_gib": 80},
        "A10": {"gpus_per_node": 2, "memory_gib": 24},
    }
    model = {
        "source": "simulated",
        "kind": "text",
        "max_model_len": 8192,
        "simulation": {"step_s": STEP_S, "load_s": 1},
        "autoscale": {"min_replicas": 1, "max_replicas": 1},
    }
    args["models"] = [
        model | {"id": "large", "accelerator": "A100", "tensor_parallel_size": 2},
        model | {"id": "small-1", "accelerator": "A10"},
        model | {"id": "small-2", "accelerator": "A10"},
    ]
    args["ingress"] = {"num_replicas": 2}
    gateway = {"num_cpus": 0, "resources": {"gateway": 0.001}}
    application["deployments"] = [
        {"name": name, "ray_actor_options": gateway} for name in ("Ingress", "Registry")
    ]
    return content


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    """The cluster, with the application on it."""
    with cluster(MACHINES, configuration) as made:
        made.keep_state()
        secret.ensure(load(made.config).app.auth.secret_file)
        for name in MACHINES:
            made.start(name)
        made.deploy()
        made.await_running(RUNNING_WITHIN_S)
        yield made


@pytest.fixture(scope="module")
def client(nodes: Cluster) -> FleetClient:
    auth = load(nodes.config).app.auth
    return FleetClient(
        Application(nodes.url("a100"), issue(auth, "user", ["user"], 3600), config=nodes.config)
    )


class Load:
    """Streams one after the other, on each model so many at once, until it is told to stop; a context."""

    def __init__(self, nodes: Cluster, client: FleetClient, *models: str, each: int = 2) -> None:
        self._stop = False
        self._client = client
        self.done: list[Asked] = []
        self._futures: list[Future[None]] = [
            nodes.outside(self._run, model) for model in models for _ in range(each)
        ]

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True

    def _run(self, model: str) -> None:
        while not self._stop:
            self.done.append(self._client.stream(model, 40))

    def stop(self) -> list[Asked]:
        """All that was asked, once the last is answered."""
        self._stop = True
        for future in self._futures:
            future.result()
        return self.done


def test_models_land_where_they_belong(nodes: Cluster) -> None:
    places = nodes.places()

    assert places["ModelServer:large"] == ["a100"]
    assert sorted(places["ModelServer:small-1"] + places["ModelServer:small-2"]) == ["a10-1", "a10-2"]
    assert places["Ingress"] == ["a100", "a100"]


def test_model_that_changes_under_load_loses_no_request(nodes: Cluster, client: FleetClient) -> None:
    before = nodes.replicas()
    content = yaml.safe_load(nodes.config.read_text(encoding="utf-8"))
    models = content["applications"][0]["args"]["models"]
    next(one for one in models if one["id"] == "small-2")["max_model_len"] = 4096

    with Load(nodes, client, "large", "small-1", "small-2") as load:
        long: list[Future[Asked]] = [nodes.outside(client.stream, "small-2", LONG_TOKENS) for _ in range(3)]
        time.sleep(2)  # into the streams
        nodes.config.write_text(yaml.safe_dump(content), encoding="utf-8")
        nodes.deploy()
        nodes.await_running(RUNNING_WITHIN_S)
        time.sleep(2)  # with the new one
        asked = [*load.stop(), *(stream.result() for stream in long)]

    assert [one for one in asked if not one.whole] == []
    assert all(future.result().text.count('"content"') == LONG_TOKENS + 1 for future in long)
    longest = max(one.first_token_s or 0 for one in asked if one.model == "small-2")
    logger.info("%d requests, all whole; longest wait for a first token %.1f s", len(asked), longest)
    after = nodes.replicas()
    assert after["ModelServer:small-2"] != before["ModelServer:small-2"], "it has been changed"
    same = {"Ingress", "Registry", "ModelServer:large", "ModelServer:small-1"}
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    card = nodes.outside(client.cards).result()["small-2"]
    assert card["max_model_len"] == 4096


def test_models_of_a_machine_that_dies_come_back_on_another(nodes: Cluster, client: FleetClient) -> None:
    (victim,) = nodes.places()["ModelServer:small-1"]
    there = {name for name, places in nodes.places().items() if victim in places}
    lost = {name.partition(":")[2] for name in there}
    (other,) = {"a10-1", "a10-2"} - {victim}
    kept = [model for model in ("large", "small-2") if model not in lost]

    with Load(nodes, client, *kept) as load:
        doomed: list[Future[Asked]] = [nodes.outside(client.stream, "small-1", LONG_TOKENS) for _ in range(4)]
        steady: list[Future[Asked]] = [nodes.outside(client.stream, kept[0], LONG_TOKENS) for _ in range(4)]
        time.sleep(3)  # into the streams
        assert not any(stream.done() for stream in doomed)
        died = time.monotonic()
        assert nodes.kill(victim) > 3
        ended = [stream.result() for stream in doomed]
        told_after = time.monotonic() - died
        back_after = _until_answered(nodes, client, "small-1", died)
        asked = [*load.stop(), *(stream.result() for stream in steady)]

    logger.info("told after %.1f s, back after %.1f s", told_after, back_after)
    for one in ended:
        assert one.status == 200
        assert '"error"' in one.text
        assert one.text.endswith("data: [DONE]\n"), "the error is an event, and the stream has an end"
        assert 10 < one.text.count('"content"') < LONG_TOKENS
    assert [one for one in asked if not one.whole] == []
    assert len(asked) > 8
    assert back_after <= BACK_WITHIN_S * machine.slowness()
    assert nodes.places()["ModelServer:small-1"] == [other]
    nodes.start(victim)
    nodes.await_running(RUNNING_WITHIN_S)


def test_serving_goes_on_while_the_head_restarts(nodes: Cluster, client: FleetClient) -> None:
    before = nodes.replicas()
    # Both ingress replicas have to have met every model: where a replica is, Ray asks the head once.
    meetings = [nodes.outside(client.stream, model, 5) for model in ("large", "small-1", "small-2") * 8]
    assert all(meeting.result().whole for meeting in meetings)
    with Load(nodes, client, "large", "small-1", "small-2") as load:
        time.sleep(2)  # into the streams
        gone = time.monotonic()
        assert nodes.kill("head") > 3
        time.sleep(HEAD_AWAY_S)
        during = len(load.done)
        nodes.start("head")
        nodes.await_running(RUNNING_WITHIN_S)
        logger.info(
            "away for %.1f s, %d requests answered in %.0f s of it",
            time.monotonic() - gone,
            during,
            HEAD_AWAY_S,
        )
        time.sleep(2)  # with the new head
        asked = load.stop()

    assert [one for one in asked if not one.whole] == []
    assert during > 20, "requests were answered without a head"
    assert nodes.replicas() == before, "nothing was restarted for it"
    content = yaml.safe_load(nodes.config.read_text(encoding="utf-8"))
    content["applications"][0]["args"]["aliases"] = {"other-name": "small-2"}
    nodes.config.write_text(yaml.safe_dump(content), encoding="utf-8")
    nodes.deploy()
    nodes.await_running(RUNNING_WITHIN_S)
    assert _until_answered(nodes, client, "other-name", time.monotonic()) < BACK_WITHIN_S


def _until_answered(nodes: Cluster, client: FleetClient, model: str, since: float) -> float:
    """Seconds until a request to a model is answered whole."""
    deadline = since + RUNNING_WITHIN_S
    while not nodes.outside(client.stream, model, 3).result().whole:
        assert time.monotonic() < deadline, nodes.serve()
        time.sleep(0.2)  # between two tries
    return time.monotonic() - since
