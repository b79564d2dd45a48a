"""The Serve configuration inside the RayService: ours, Ray's, and that the pods have what it names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ray.serve.schema import ServeDeploySchema

from serve_app.serve_file import ServeFile, ServeFileError, load
from tests.cluster.objects import Object, one, pod_templates, rendered, serve_config

SECRETS = "/etc/qwen-serve/secrets"
READERS = {
    "signing": ("head", "ingress", "gpu"),  # Serve's build task runs anywhere
    "audit-key": ("ingress",),
    "database": ("ingress",),
    "limits-redis": ("ingress",),
    "elasticsearch": ("ingress",),
    "s3": ("gpu",),
}


def checked(objects: list[Object], folder: Path) -> ServeFile:
    """What `qwen-serve check` makes of it."""
    path = folder / "serve_config.yaml"
    path.write_text(one(objects, "RayService")["spec"]["serveConfigV2"], encoding="utf-8")
    return load(path)


def mounted(template: Object) -> set[str]:
    """Secrets that a pod has, by the file's name."""
    volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
    sources = volumes["secrets"]["projected"]["sources"]
    return {item["path"] for source in sources for item in source["secret"]["items"]}


def files_named(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set().union(*(files_named(part) for part in value.values()))
    if isinstance(value, list):
        return set().union(*(files_named(part) for part in value))
    return (
        {value.removeprefix(f"{SECRETS}/")} if isinstance(value, str) and value.startswith(SECRETS) else set()
    )


def test_our_own_check_accepts_it_without_a_warning(objects: list[Object], tmp_path: Path) -> None:
    file = checked(objects, tmp_path)
    assert file.warnings == ()
    assert file.app.models


def test_ray_accepts_it(objects: list[Object]) -> None:
    schema = ServeDeploySchema.model_validate(serve_config(objects))
    assert [application.name for application in schema.applications] == ["qwen-serve"]
    assert schema.http_options.port == 8000


def test_command_line_in_a_pod_finds_the_same_configuration(objects: list[Object]) -> None:
    copy = one(objects, "ConfigMap", "qwen-serve-config")["data"]["serve_config.yaml"]
    assert copy == one(objects, "RayService")["spec"]["serveConfigV2"]
    mounts = dict(pod_templates(objects))["ingress"]["spec"]["containers"][0]["volumeMounts"]
    assert {"name": "config", "mountPath": "/etc/qwen-serve/config", "readOnly": True} in mounts


def test_our_own_check_finds_a_mistake_in_the_values(tmp_path: Path) -> None:
    objects = rendered({"application": {"auth": {"rolls": {}}}})
    with pytest.raises(ServeFileError, match="did you mean 'roles'"):
        checked(objects, tmp_path)


def test_model_for_a_machine_that_the_cluster_lacks_is_found(tmp_path: Path) -> None:
    objects = rendered({"gpuGroups": {"a10": {"accelerator": "L4"}}})
    with pytest.raises(ServeFileError, match="A10"):
        checked(objects, tmp_path)


def test_accelerators_are_the_groups(objects: list[Object], tmp_path: Path) -> None:
    app = checked(objects, tmp_path).app
    groups = one(objects, "RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    found = {}
    for group in groups:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        kinds = [key.removeprefix("accelerator_type:") for key in group["resources"] if ":" in key]
        assert int(group["resources"].get("GPU", 0)) == limits.get("nvidia.com/gpu", 0)
        assert int(group["resources"]["CPU"]) == int(limits["cpu"])
        found.update(dict.fromkeys(kinds, limits.get("nvidia.com/gpu", 0)))
    assert found == {kind: accelerator.gpus_per_node for kind, accelerator in app.accelerators.items()}


def test_smallest_cluster_holds_what_always_runs(objects: list[Object], tmp_path: Path) -> None:
    app = checked(objects, tmp_path).app
    groups = one(objects, "RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    free: dict[str, list[int]] = {}
    for group in groups:
        for key in group["resources"]:
            if key.startswith("accelerator_type:"):
                machines = free.setdefault(key.partition(":")[2], [])
                machines += [int(group["resources"]["GPU"])] * group["minReplicas"]
    for model in sorted(app.models, key=lambda model: -model.tensor_parallel_size):
        assert model.accelerator is not None
        for _ in range(model.autoscale.min_replicas):
            machines = free[model.accelerator]
            machine = next(index for index, gpus in enumerate(machines) if gpus >= model.tensor_parallel_size)
            machines[machine] -= model.tensor_parallel_size


def test_smallest_ingress_group_holds_the_ingress_and_the_registry(objects: list[Object]) -> None:
    config = serve_config(objects)["applications"][0]
    cpus = {item["name"]: item["ray_actor_options"]["num_cpus"] for item in config["deployments"]}
    (group,) = [
        group
        for group in one(objects, "RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
        if group["groupName"] == "ingress"
    ]
    needed = config["args"]["ingress"]["num_replicas"] * cpus["Ingress"] + cpus["Registry"]
    assert needed <= group["minReplicas"] * int(group["resources"]["CPU"])


def test_ingress_and_registry_run_where_their_secrets_are(objects: list[Object]) -> None:
    config = serve_config(objects)["applications"][0]
    asked = {item["name"]: set(item["ray_actor_options"]["resources"]) for item in config["deployments"]}
    assert asked == {"Ingress": {"qwen_serve_ingress"}, "Registry": {"qwen_serve_ingress"}}
    having = [
        group["groupName"]
        for group in one(objects, "RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
        if "qwen_serve_ingress" in group["resources"]
    ]
    assert having == ["ingress"]


def test_secret_that_is_named_is_where_it_is_read_and_nowhere_else(objects: list[Object]) -> None:
    named = files_named(serve_config(objects))
    assert {"signing", "audit-key"} <= named
    for _, template in pod_templates(objects):
        component = template["metadata"]["labels"]["app.kubernetes.io/component"]
        expected = {name for name in named if component in READERS[name]}
        # Filebeat reads its key from a variable of its own.
        assert mounted(template) - {"elasticsearch"} == expected - {"elasticsearch"}
        assert expected <= mounted(template)


def test_state_and_weights_lie_on_volumes(objects: list[Object]) -> None:
    args = serve_config(objects)["applications"][0]["args"]
    for _, template in pod_templates(objects):
        component = template["metadata"]["labels"]["app.kubernetes.io/component"]
        mounts = [mount["mountPath"] for mount in template["spec"]["containers"][0]["volumeMounts"]]
        inside = Counter(
            name
            for name, path in (
                ("audit", args["audit"]["directory"]),
                ("weights", args["weights"]["cache_dir"]),
            )
            for mount in mounts
            if path.startswith(f"{mount}/")
        )
        assert inside == {"head": {}, "ingress": {"audit": 1}, "gpu": {"weights": 1}}[component]
