"""The chart's Serve configuration on real raylets with its groups' resources: what lands where.

The machines exist in name only, and the engine of the model is simulated; Ray, Serve, the ingress and the
registry are real. It all runs in a process of its own (``main`` below), with its own folder and ports.
"""

from __future__ import annotations

import json
import socket
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.objects import Object, one, serve_config, simulated
from tests.ray_process import HEAD, found_by

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 240.0

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What ``main`` found out, from a process of its own."""
    answer: dict[str, Any] = json.loads(found_by("tests.cluster.test_placement"))
    return answer


def test_ingress_and_registry_run_in_the_ingress_group(found: dict[str, Any]) -> None:
    assert found["placed"]["Ingress"] == ["ingress"]
    assert found["placed"]["Registry"] == ["ingress"]


def test_model_runs_on_its_accelerator(found: dict[str, Any]) -> None:
    assert found["placed"]["ModelServer:qwen-sim"] == ["a10"]


def test_application_is_ready_with_nothing_on_the_head(found: dict[str, Any]) -> None:
    assert found["status"] == "RUNNING"
    assert found["ready"] == {"ready": True, "registry": True, "models": {"qwen-sim": True}}
    assert not any("headgroup" in groups for groups in found["placed"].values())


def objects_in(folder: Path) -> list[Object]:
    """The chart with a simulated model and its files in a folder of ours."""
    return simulated(
        auth={"secret_file": str(folder / "jwt.key")},
        audit={"directory": str(folder / "audit"), "signing_key_file": str(folder / "audit.key")},
        store={"url": f"sqlite:///{folder}/store.db"},
    )


def main(result: Path) -> None:
    """Start a node for each group, deploy, and write where everything has gone."""
    import ray
    from ray.cluster_utils import Cluster

    from serve_app.auth import secret

    folder = result.parent
    secret.ensure(folder / "jwt.key")
    objects = objects_in(folder)
    cluster_config = one(objects, "RayService")["spec"]["rayClusterConfig"]
    head = cluster_config["headGroupSpec"]["resources"]
    cluster = Cluster(initialize_head=True, head_node_args={**HEAD, "num_cpus": int(head["CPU"])})
    groups = {cluster.head_node.node_id: "headgroup"}
    try:
        for group in cluster_config["workerGroupSpecs"]:
            node = cluster.add_node(**_as_ray_takes_it(group["resources"]), wait=False)
            groups[node.node_id] = group["groupName"]
        cluster.wait_for_nodes(timeout=120)
        ray.init(address=cluster.address, log_to_driver=False)
        answer = _deploy(serve_config(objects), groups)
        result.write_text(json.dumps(answer), encoding="utf-8")
    finally:
        ray.shutdown()
        cluster.shutdown()


def _as_ray_takes_it(resources: dict[str, str]) -> dict[str, Any]:
    """A group's resources as KubeRay hands them to ``ray start``."""
    own = {key: float(value) for key, value in resources.items() if key not in ("CPU", "GPU")}
    return {"num_cpus": int(resources["CPU"]), "num_gpus": int(resources.get("GPU", 0)), "resources": own}


def _deploy(config: Object, groups: dict[str, str]) -> dict[str, Any]:
    from ray import serve
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ServeDeploySchema

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = int(holder.getsockname()[1])
    config["http_options"] = {"host": "127.0.0.1", "port": port}
    # On one machine only one proxy can have the port.
    config["proxy_location"] = "HeadOnly"
    serve.start(proxy_location="HeadOnly", http_options=config["http_options"])
    client = _get_global_client()
    client.deploy_apps(ServeDeploySchema.model_validate(config))
    deadline = time.monotonic() + READY_WITHIN_S
    status = ""
    while status != "RUNNING" and time.monotonic() < deadline:
        time.sleep(0.5)
        status = str(serve.status().applications["qwen-serve"].status.value)
    (application,) = client.get_serve_details()["applications"].values()
    placed = {
        name: sorted({groups[replica["node_id"]] for replica in deployment["replicas"]})
        for name, deployment in application["deployments"].items()
    }
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=10) as reply:
        ready = json.loads(reply.read())
    return {"status": status, "placed": placed, "ready": ready}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
