"""The production catalogue on a cluster of A100 and A10 machines: where every replica would be placed.

The machines are real Ray nodes with GPUs that exist in name only. The deployments are those that the
application builds, and each of their placement groups is created as Serve would create it; no weights are
loaded. It all runs in a process of its own (``main`` below), with its own folder and ports, so that neither
another Ray on this machine nor another test sees it.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ray_process import HEAD, found_by

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = ROOT / "configs" / "a100-a10.yaml"
# The smallest fleet that the catalogue's comment promises to be enough.
FLEET = {"A10": 2, "A100-40G": 1, "A100-80G": 1}
READY_WITHIN_S = 120.0
REFUSED_AFTER_S = 3.0

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def placements() -> dict[str, Any]:
    """What ``main`` found out, from a process of its own."""
    found: dict[str, Any] = json.loads(found_by("tests.integration.test_production_placement"))
    return found


def configured() -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = yaml.safe_load(CATALOGUE.read_text(encoding="utf-8"))["applications"][0][
        "args"
    ]["models"]
    return models


def alternatives() -> list[dict[str, Any]]:
    """The models that the file holds as comments: list items and the lines that belong to them."""
    lines = CATALOGUE.read_text(encoding="utf-8").splitlines()
    items = [match[1] for line in lines if (match := re.match(r" +# ((?:- id:|  ).*)", line))]
    found: list[dict[str, Any]] = yaml.safe_load("\n".join(items))
    return found


def expected(models: list[dict[str, Any]]) -> dict[str, tuple[str, int]]:
    return {model["id"]: (model["accelerator"], model.get("tensor_parallel_size", 1)) for model in models}


def test_every_model_is_placed_on_one_machine_of_its_type(placements: dict[str, Any]) -> None:
    found = {name: (place["machines"], place["gpus"]) for name, place in placements["active"].items()}
    assert found == {name: ([kind], gpus) for name, (kind, gpus) in expected(configured()).items()}


def test_commented_alternatives_are_placed_too(placements: dict[str, Any]) -> None:
    assert alternatives()
    found = {name: (place["machines"], place["gpus"]) for name, place in placements["alternative"].items()}
    assert found == {name: ([kind], gpus) for name, (kind, gpus) in expected(alternatives()).items()}


def test_serve_asks_for_strict_packing_with_one_bundle_per_rank(placements: dict[str, Any]) -> None:
    for name, (accelerator, size) in expected(configured()).items():
        place = placements["active"][name]
        assert place["strategy"] == "STRICT_PACK"
        assert len(place["bundles"]) == size
        for bundle in place["bundles"]:
            assert bundle["GPU"] == 1
            assert bundle[f"accelerator_type:{accelerator}"] == pytest.approx(0.001)


def test_replicas_take_the_queues_of_the_file(placements: dict[str, Any]) -> None:
    for model in configured():
        place = placements["active"][model["id"]]
        assert place["max_ongoing_requests"] == model["autoscale"]["max_ongoing_requests"]
        assert place["max_queued_requests"] == model["autoscale"].get("max_queued_requests", 256)
        assert place["max_replicas"] == model["autoscale"].get("max_replicas", 1)


def test_a_replica_larger_than_a_machine_is_never_placed(placements: dict[str, Any]) -> None:
    assert placements["five_of_four_gpus_ready"] is False


def test_the_promised_fleet_is_not_larger_than_needed(placements: dict[str, Any]) -> None:
    gpus = {"A10": 4, "A100-40G": 2, "A100-80G": 2}
    used = Counter(dict.fromkeys(gpus, 0))
    for kind, size in expected(configured()).values():
        used[kind] += size
    assert all(used[kind] > gpus[kind] * (FLEET[kind] - 1) for kind in FLEET)


def test_serve_reads_every_key_of_the_file(placements: dict[str, Any]) -> None:
    # Serve ignores keys that it does not know, so that a misspelt one would pass unnoticed.
    assert placements["applications"] == ["qwen-serve"]
    assert placements["unknown_keys"] == []


def main(result: Path) -> None:
    """Start the fleet, place the catalogue on it, and write what happened."""
    import ray
    from ray.cluster_utils import Cluster
    from ray.serve.schema import ServeApplicationSchema, ServeDeploySchema

    from deployments.config import AcceleratorConfig, ModelConfig

    file = yaml.safe_load(CATALOGUE.read_text(encoding="utf-8"))
    schema = ServeDeploySchema.model_validate(file)
    args = file["applications"][0]["args"]
    accelerators = {k: AcceleratorConfig.model_validate(v) for k, v in args["accelerators"].items()}
    cluster = Cluster(initialize_head=True, head_node_args={**HEAD, "num_cpus": 0})
    try:
        for kind, machines in FLEET.items():
            for _ in range(machines):
                gpus = accelerators[kind].gpus_per_node
                resources = {f"accelerator_type:{kind}": 1.0}
                cluster.add_node(num_cpus=4 * gpus, num_gpus=gpus, resources=resources, wait=False)
        cluster.wait_for_nodes(timeout=240)
        ray.init(address=cluster.address, log_to_driver=False)
        found = {
            "applications": [application.name for application in schema.applications],
            "unknown_keys": [
                *(file.keys() - ServeDeploySchema.model_fields),
                *(file["applications"][0].keys() - ServeApplicationSchema.model_fields),
            ],
            "active": _place([ModelConfig.model_validate(model) for model in args["models"]]),
            "alternative": _place([ModelConfig.model_validate(model) for model in alternatives()]),
            "five_of_four_gpus_ready": _fits([{"GPU": 1.0, "accelerator_type:A10": 0.001}] * 5),
        }
        result.write_text(json.dumps(found), encoding="utf-8")
    finally:
        ray.shutdown()
        cluster.shutdown()


def _place(models: list[Any]) -> dict[str, Any]:
    """Create the placement group of one replica of every model, all at once; then free them."""
    import ray
    from ray.util.placement_group import (
        placement_group,
        placement_group_table,
        remove_placement_group,
    )

    from deployments.build import build_model
    from deployments.weights import WeightsConfig

    found, groups = {}, []
    for model in models:
        deployment = build_model(model, WeightsConfig())._bound_deployment
        config, replica = deployment._deployment_config, deployment._replica_config
        bundles, strategy = replica.placement_group_bundles, replica.placement_group_strategy
        group = placement_group(bundles, strategy=strategy)
        groups.append(group)
        ready = group.wait(READY_WITHIN_S)
        nodes = set(placement_group_table(group)["bundles_to_node_id"].values()) if ready else set()
        found[model.id] = {
            "bundles": bundles,
            "strategy": strategy,
            "gpus": sum(bundle.get("GPU", 0) for bundle in bundles),
            "machines": [
                resource.partition(":")[2]
                for node in ray.nodes()
                if node["NodeID"] in nodes
                for resource in node["Resources"]
                if resource.startswith("accelerator_type:")
            ],
            "max_ongoing_requests": config.max_ongoing_requests,
            "max_queued_requests": config.max_queued_requests,
            "max_replicas": config.autoscaling_config.max_replicas,
        }
    for group in groups:
        remove_placement_group(group)
    return found


def _fits(bundles: list[dict[str, float]]) -> bool:
    from ray.util.placement_group import placement_group, remove_placement_group

    group = placement_group(bundles, strategy="STRICT_PACK")
    ready: bool = group.wait(REFUSED_AFTER_S)
    remove_placement_group(group)
    return ready


if __name__ == "__main__":
    main(Path(sys.argv[1]))
