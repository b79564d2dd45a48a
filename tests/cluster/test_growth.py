"""Ray's own autoscaler makes a machine for a model that waits for one, and takes it away when it is idle.

The machines are Ray nodes on this one, made by a provider of Ray's for tests; the autoscaler is the one that
KubeRay runs beside the head. GPUs exist in name only, and engines are simulated.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from ray.util import get_node_ip_address

from cluster.local import processes
from cluster.local.ray_node import free_ports
from serve_app.auth import secret
from serve_app.cli.token import issue
from serve_app.serve_file import keep_files_in, load
from tests.integration.conftest import Application
from tests.integration.fleet_clients import FleetClient

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
logger = logging.getLogger(__name__)

ROOT: Final = Path(__file__).resolve().parents[2]
UP_WITHIN_S: Final = 180.0
GONE_WITHIN_S: Final = 120.0
IDLE_MINUTES: Final = 0.1
_COMMANDS: Final = (
    *("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands"),
    *("head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files"),
)
_HEAD_ID: Final = "f" * 56
"""What the provider takes for the head's id."""


def configuration(folder: Path, port: int) -> dict[str, Any]:
    """Two models, one after the other asked for; no machine has a GPU."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "configs" / "fleet.yaml").read_text(encoding="utf-8"))
    content["http_options"]["port"] = port
    args = content["applications"][0]["args"]
    keep_files_in(folder, args)
    args["accelerators"] = {"A10": {"gpus_per_node": 2, "memory_gib": 24}}
    model = {
        "source": "simulated",
        "kind": "text",
        "accelerator": "A10",
        "max_model_len": 8192,
        "simulation": {"step_s": 0.02, "load_s": 1},
        "autoscale": {"min_replicas": 0, "max_replicas": 1},
    }
    args["models"] = [model | {"id": "wide", "tensor_parallel_size": 2}, model | {"id": "narrow"}]
    args["fleet"] = {
        "machines_after_s": 1,
        "min_residency_s": 2,
        "quiet_s": 2,
        "idle_unload_min_s": 5,
        "idle_unload_s": 5,
    }
    return content


def autoscaling(gcs: str) -> dict[str, Any]:
    """What KubeRay would tell the autoscaler: a group of A10 machines, none at first, two at most."""
    machine = {"CPU": 4, "GPU": 2, "accelerator_type:A10": 1, "object_store_memory": 100 * 1024 * 1024}
    return {
        "cluster_name": "growth",
        "max_workers": 2,
        "idle_timeout_minutes": IDLE_MINUTES,
        "upscaling_speed": 1.0,
        "provider": {
            # By its name, `fake_multinode`, Ray would look for an example that its packages do not have.
            "type": "external",
            "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
            "gcs_address": gcs,
            "head_node_id": _HEAD_ID,
            "launch_multiple": True,
        },
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 8}, "node_config": {}, "max_workers": 0},
            "a10": {"resources": machine, "node_config": {}, "min_workers": 0, "max_workers": 2},
        },
        "head_node_type": "ray.head.default",
        # Of no use here, and looked for.
        **dict.fromkeys(_COMMANDS, ()),
        "auth": {},
        "file_mounts": {},
    }


class Grown:
    """The cluster: its head with the autoscaler, and the application on it.

    Args:
        folder: For everything.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mark = secrets.token_hex(8)
        gcs, self._dashboard, client, agent, self._port = free_ports(0, 0, 0, 0, 0)
        self.config = folder / "serve_config.yaml"
        self.config.write_text(yaml.safe_dump(configuration(folder, self._port)), encoding="utf-8")
        scaling, token = folder / "autoscaling.json", folder / "token"
        scaling.write_text(json.dumps(autoscaling(f"{get_node_ip_address()}:{gcs}")), encoding="utf-8")
        self._token = secrets.token_hex(32)
        token.write_text(self._token, encoding="ascii")
        self._environment = {
            **{name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
            "RAY_FAKE_CLUSTER": "1",
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_enable_autoscaler_v2": "1",
            "RAY_CLOUD_INSTANCE_ID": _HEAD_ID,
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": _HEAD_ID,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_enable_worker_prestart": "0",
            "RAY_prestart_worker_first_driver": "0",
            "RAY_num_workers_soft_limit": "0",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            processes.MARK: self._mark,
            "SPT_NOENV": "1",
        }
        self._head = self._start(
            *("-m", "ray.scripts.scripts", "start", "--head", "--block"),
            *(f"--port={gcs}", f"--dashboard-port={self._dashboard}", "--dashboard-host=127.0.0.1"),
            *(f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}"),
            *("--min-worker-port=0", "--max-worker-port=0", "--num-cpus=8", "--num-gpus=0"),
            *(f"--object-store-memory={100 * 1024 * 1024}", f"--temp-dir={folder / 'r'}"),
            f"--autoscaling-config={scaling}",
        )

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        with (self._folder / "head.log").open("wb") as output:
            return subprocess.Popen(
                [sys.executable, *words],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def machines(self) -> list[dict[str, Any]]:
        """Those with GPUs that are alive."""
        nodes: list[dict[str, Any]] = self.ask("/api/v0/nodes")["data"]["result"]["result"]
        return [node for node in nodes if node["state"] == "ALIVE" and node["resources_total"].get("GPU")]

    def is_up(self) -> bool:
        """Whether the dashboard takes configurations."""
        assert self._head.poll() is None, self.last_words()
        return self.ask("/api/serve/applications/") is not None

    def serves(self) -> bool:
        """Whether the application runs."""
        found: str = self.ask("/api/serve/applications/")["applications"]["qwen-serve"]["status"]
        return found == "RUNNING"

    def deploy(self) -> None:
        """Hand the configuration to Serve."""
        secret.ensure(load(self.config).app.auth.secret_file)
        self.ask("/api/serve/applications/", yaml.safe_load(self.config.read_text(encoding="utf-8")))

    def client(self) -> FleetClient:
        """Asks the application."""
        token = issue(load(self.config).app.auth, "user", ["user"], 3600)
        return FleetClient(Application(f"http://127.0.0.1:{self._port}", token, config=self.config))

    def ask(self, path: str, document: object = None) -> Any:
        """What the dashboard says."""
        headers = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
        body = None if document is None else json.dumps(document).encode()
        url = f"http://127.0.0.1:{self._dashboard}{path}"
        request = urllib.request.Request(
            url, data=body, headers=headers, method="GET" if body is None else "PUT"
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def last_words(self) -> str:
        """What the head and the autoscaler have said."""
        logs = [self._folder / "head.log", *(self._folder / "r").glob("session_latest/logs/monitor.*")]
        return "\n".join(log.read_text(encoding="utf-8")[-2000:] for log in logs if log.is_file())

    def close(self) -> None:
        """Nothing is left."""
        processes.end(self._mark, grace_s=0)


@pytest.fixture
def grown() -> Iterator[Grown]:
    folder = Path(tempfile.mkdtemp(prefix="qs-", dir="/tmp"))
    made = Grown(folder)
    try:
        until(made, made.is_up, UP_WITHIN_S)
        made.deploy()
        until(made, made.serves, UP_WITHIN_S)
        yield made
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)


def until(grown: Grown, true: Callable[[], bool], within_s: float) -> float:
    """How long it took, seconds."""
    began = time.monotonic()
    while True:
        try:
            if true():
                return time.monotonic() - began
        except (OSError, LookupError):
            pass  # it is starting
        assert time.monotonic() - began < within_s, grown.last_words()
        time.sleep(0.5)  # between two looks


def test_machine_comes_for_a_model_and_goes_when_it_is_idle(grown: Grown) -> None:
    client = grown.client()
    assert grown.machines() == []

    first = client.stream("wide")
    assert first.whole, first.text
    assert len(grown.machines()) == 1, "a machine takes both GPUs of it"
    logger.info("first token after %.1f s, with a machine that had to come", first.first_token_s)

    gone_after = until(grown, lambda: grown.machines() == [], GONE_WITHIN_S)
    logger.info("machine gone %.1f s after the answer", gone_after)
    assert client.stream("narrow").whole, "and the next one comes"
