"""Ten models on four GPUs: real Ray Serve, its controller, autoscaler and placement; simulated engines.

The GPUs exist in name only. That no more of them are ordered than there are is Ray's own word
(``fleet_observer``), not the policy's.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from cluster.local import processes, session
from cluster.local.application import SERVE_PATH
from tests import machine
from tests.integration.conftest import ROOT, Application
from tests.integration.fleet_clients import FleetClient, fleet_of, observed

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]

logger = logging.getLogger(__name__)

GPUS = 4.0
AFTER_LOAD_S = 3.0
QUIET_S = 2
CLIENTS_PER_MODEL = 4
SEEN_WITHIN_S = 1.5
BROKEN = "qwen-broken"
WARM = "qwen-warm"
LONG_TOKENS = 4500
"""A stream of a minute and a half."""


def configuration() -> dict[str, Any]:
    """``configs/fleet.yaml`` with one more model, which does not load."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "configs" / "fleet.yaml").read_text(encoding="utf-8"))
    args = content["applications"][0]["args"]
    args["fleet"] |= {"min_residency_s": QUIET_S, "quiet_s": QUIET_S}
    for model in args["models"]:
        model["simulation"] = {"step_s": 0.02, "load_s": 1}
    warm = args["models"][-1] | {"id": WARM, "sleep_level": 1}
    warm["simulation"] = {"step_s": 0.02, "load_s": 1, "wake_s": 0.5}
    args["models"].append(warm)
    broken = args["models"][-2] | {"id": BROKEN, "expected_load_s": 1}
    broken["simulation"] = {"faults": {"fail_at_start": True}}
    args["models"].append(broken)
    return content


@pytest.fixture(scope="module")
def looks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("looks") / "looks.jsonl"


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory, looks: Path) -> Iterator[Application]:
    folder = tmp_path_factory.mktemp("fleet")
    with fleet_of(folder, configuration()) as application, observed(application, looks):
        yield application


@pytest.fixture(scope="module")
def client(application: Application) -> FleetClient:
    return FleetClient(application)


def names() -> list[str]:
    return [model["id"] for model in configuration()["applications"][0]["args"]["models"]]


COLD = [name for name in names() if name not in ("qwen-hot", WARM, BROKEN)]


def test_only_the_hot_model_is_loaded_at_first(client: FleetClient) -> None:
    client.await_state("qwen-hot", "hot", 60)
    cards = client.cards()
    assert {name: card["state"] for name, card in cards.items()} == {
        name: "hot" if name == "qwen-hot" else "cold" for name in names()
    }
    assert cards["qwen-a"]["expected_load_s"] == 15


def test_cold_models_in_turn_answer_soon_after_their_load(client: FleetClient) -> None:
    late = {}
    for name in COLD:
        time.sleep(QUIET_S + 1)  # a pause of the clients; who came before may give way after it
        asked = client.stream(name)
        assert asked.whole, asked
        assert asked.comments, "a stream that waits is told so"
        assert asked.comments[0].startswith(f": loading {name} 1 s of about ")
        client.await_state(name, "hot", 10)
        loaded_in_s = client.state(name)["expected_load_s"]  # after one load, that load's time
        assert asked.first_token_s is not None
        late[name] = asked.first_token_s - loaded_in_s
    logger.info(
        "first token after the load, s: %s", {name: round(late_s, 2) for name, late_s in late.items()}
    )
    assert max(late.values()) <= AFTER_LOAD_S * machine.slowness()


def test_bursts_on_all_models_at_once_lose_no_request(client: FleetClient) -> None:
    burst = [name for name in ("qwen-hot", *COLD) for _ in range(CLIENTS_PER_MODEL)]
    with ThreadPoolExecutor(len(burst)) as pool:
        asked = list(pool.map(client.stream, burst))
    assert [one for one in asked if not one.whole] == []
    logger.info("first tokens after, s: %s", sorted(round(one.first_token_s or -1, 1) for one in asked))


def test_model_that_does_not_load_says_why_and_backs_off(client: FleetClient) -> None:
    time.sleep(QUIET_S + 1)  # a pause of the clients
    answer = client.whole(BROKEN)
    assert answer.status_code == 503, answer.text
    assert answer.json()["error"]["code"] == "model_loading"
    assert int(answer.headers["retry-after"]) >= 1
    begun = time.monotonic()
    again = client.whole(BROKEN)
    assert again.status_code == 503
    assert time.monotonic() - begun < AFTER_LOAD_S, "refused at once while it backs off"
    deadline = time.monotonic() + 10
    while "fail_at_start" not in client.state(BROKEN)["error"]:
        assert time.monotonic() < deadline, client.state(BROKEN)
    actions = [one["action"] for one in client.fleet()["decisions"] if one["model"] == BROKEN]
    assert "back-off" in actions
    assert client.stream("qwen-hot").whole


def test_idle_model_that_can_sleep_is_warm_and_wakes_when_asked(client: FleetClient) -> None:
    time.sleep(QUIET_S + 1)  # a pause of the clients
    loaded = client.stream(WARM)
    client.await_state(WARM, "warm", 150)
    assert client.cards()[WARM]["state"] == "warm"
    woken = client.stream(WARM)
    assert woken.whole
    client.await_state(WARM, "hot", 10)
    assert loaded.first_token_s is not None
    assert woken.first_token_s is not None
    logger.info("loaded in %.2f s, woken in %.2f s", loaded.first_token_s, woken.first_token_s)
    assert woken.first_token_s <= AFTER_LOAD_S * machine.slowness()
    actions = [one["action"] for one in client.fleet()["decisions"] if one["model"] == WARM]
    assert [one for one in reversed(actions) if one in ("load", "sleep", "wake")] == ["load", "sleep", "wake"]


def test_controller_that_is_killed_is_not_missed(client: FleetClient, application: Application) -> None:
    before = replicas(application)["ModelServer:qwen-hot"]
    learned = client.state("qwen-c")["expected_load_s"]
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(client.stream, "qwen-hot", LONG_TOKENS // 3)
        kill_controller(application)
        assert stream.result().whole
    time.sleep(QUIET_S + 1)  # a pause of the clients
    name = next(name for name in COLD if client.state(name)["state"] == "cold")
    assert client.stream(name).whole
    assert replicas(application)["ModelServer:qwen-hot"] == before
    assert client.state("qwen-c")["expected_load_s"] == pytest.approx(learned, rel=0.5)
    assert client.state("qwen-c")["expected_load_s"] != 15, "what was learned is still known"


def _ordered(gpus: dict[str, float]) -> float:
    """All GPUs ordered, a model that fails to load counted once.

    Serve itself orders the place of a replica that has failed, a moment before the failed one's is gone and
    before it asks the policy; that order waits until Ray has the GPUs back.
    """
    return sum(min(share, 0.5) if model == BROKEN else share for model, share in gpus.items())


def test_no_more_gpus_are_ordered_than_there_are(client: FleetClient, looks: Path) -> None:
    seen = [json.loads(line) for line in looks.read_text(encoding="utf-8").splitlines()]
    most = max(_ordered(look["ordered"]) for look in seen)
    logger.info("%d looks, at most %g GPUs ordered", len(seen), most)
    assert len(seen) > 100
    assert GPUS - 1 <= most <= GPUS
    assert {model for look in seen for model in look["held"]} >= {"qwen-hot", *COLD}
    assert client.fleet()["gpus"]["A100"]["total"] == GPUS


def test_no_model_was_evicted_while_it_was_asked(client: FleetClient) -> None:
    evictions = [one for one in client.fleet()["decisions"] if one["action"] in ("evict", "unload")]
    assert evictions
    # One that has only just come is not in Serve's figures yet; its replica answers it before it stops.
    seen_within_s = SEEN_WITHIN_S * machine.slowness()
    for eviction in evictions:
        busy = [
            asked
            for asked in client.asked
            if asked.model == eviction["model"] and asked.begun + seen_within_s < eviction["at"] < asked.ended
        ]
        assert not busy, (eviction, busy)
        assert eviction["model"] != "qwen-hot"


def test_changed_catalogue_leaves_the_other_models_and_their_streams_alone(
    client: FleetClient, application: Application, tmp_path: Path
) -> None:
    client.stream("qwen-a")
    before = replicas(application)
    changed: dict[str, Any] = yaml.safe_load(application.config.read_text(encoding="utf-8"))
    args = changed["applications"][0]["args"]
    kept = [model for model in args["models"] if model["id"] not in ("qwen-f", "qwen-b")]
    other = next(model for model in args["models"] if model["id"] == "qwen-b") | {"max_model_len": 4096}
    args["models"] = [*kept, other, other | {"id": "qwen-new"}]
    args["aliases"] = {"qwen-max": "qwen-new"}
    config = tmp_path / "changed.yaml"
    config.write_text(yaml.safe_dump(changed), encoding="utf-8")

    with ThreadPoolExecutor(2) as pool:
        streams = [pool.submit(client.stream, name, LONG_TOKENS) for name in ("qwen-hot", "qwen-a")]
        apply(config, application)
        assert not any(stream.done() for stream in streams), "they are older than the change"
        assert client.whole("qwen-f").status_code == 404
        assert client.stream("qwen-max").whole
        ended = [stream.result() for stream in streams]

    assert [stream.text.count('"content"') for stream in ended] == [LONG_TOKENS + 1] * 2
    assert all(stream.whole for stream in ended)
    cards = client.cards()
    assert "qwen-f" not in cards
    assert cards["qwen-b"]["max_model_len"] == 4096
    after = replicas(application)
    untouched = {"Ingress", "Registry", "ModelServer:qwen-hot", "ModelServer:qwen-a"}
    assert {name: after[name] for name in untouched} == {name: before[name] for name in untouched}


def kill_controller(application: Application) -> None:
    """As if it had crashed; Ray starts it anew."""
    assert application.state is not None
    current = session.recorded(application.state)
    assert current is not None
    (controller,) = (
        process
        for process in processes.find(current.id)
        if Path(f"/proc/{process.pid}/cmdline").read_bytes().startswith(b"ray::ServeController")
    )
    os.kill(controller.pid, signal.SIGKILL)


def replicas(application: Application) -> dict[str, set[str]]:
    """Ids of the replicas that run, by deployment, as Serve tells them."""
    assert application.state is not None
    current = session.recorded(application.state)
    assert current is not None
    answer = httpx.get(
        current.dashboard_file.read_text(encoding="ascii") + SERVE_PATH,
        headers={"authorization": f"Bearer {current.token_file.read_text(encoding='ascii')}"},
        timeout=30,
    )
    deployments = answer.json()["applications"]["qwen-serve"]["deployments"]
    return {
        name: {one["replica_id"] for one in details["replicas"] if one["state"] == "RUNNING"}
        for name, details in deployments.items()
    }


def apply(config: Path, application: Application) -> None:
    """Hand a configuration to the running application, as an operator would."""
    command = [sys.executable, "-m", "serve_app.cli", "apply", "--config", str(config)]
    command += ["--state", str(application.state)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stderr
    assert "is in force" in result.stdout
