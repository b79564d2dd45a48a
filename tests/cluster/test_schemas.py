"""Every object that is rendered fits the schema of whoever reads it, and one that does not is found out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest

from tests.cluster import foreign_schema, kuberay_schema
from tests.cluster.objects import Object, objects_of, one

# The oldest that the chart's kubeVersion allows, and the newest that there are schemas of.
KUBERNETES = ("1.27", "1.37")

needs_crds = pytest.mark.skipif(
    not kuberay_schema.is_there(),
    reason=f"KubeRay's CRDs are not here: {kuberay_schema.FOLDER}; they are data of ray-project/kuberay",
)


def is_kubernetes_own(item: Object) -> bool:
    group = str(item["apiVersion"]).rpartition("/")[0]
    return "." not in group or (group.endswith(".k8s.io") and not group.startswith("gateway."))


def problem_of_kubernetes(item: Object, version: str = KUBERNETES[-1]) -> str | None:
    try:
        kubernetes_validate.validate(item, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error.message)
    return None


def pods_of(service: Object) -> list[Object]:
    """The RayService's pods as pods, since a CRD says less of a pod than Kubernetes does."""
    cluster = service["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    pods = [{"apiVersion": "v1", "kind": "Pod", **group["template"]} for group in groups]
    return [{**pod, "metadata": {**pod["metadata"], "name": "a-pod"}} for pod in pods]


def test_every_object_has_a_schema(objects: list[Object]) -> None:
    for item in objects:
        known = is_kubernetes_own(item) or foreign_schema.knows(item) or item["kind"] == "RayService"
        assert known, f"{item['apiVersion']} {item['kind']}"


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_objects_are_valid(objects: list[Object], version: str) -> None:
    own = [item for item in objects if is_kubernetes_own(item)]
    assert len(own) > 2
    for item in own:
        assert problem_of_kubernetes(item, version) is None, item["metadata"]["name"]


@pytest.mark.parametrize("version", KUBERNETES)
def test_pods_of_the_ray_cluster_are_valid(objects: list[Object], version: str) -> None:
    pods = pods_of(one(objects, "RayService"))
    assert len(pods) > 2
    for pod in pods:
        assert problem_of_kubernetes(pod, version) is None, pod["metadata"]["labels"]


def test_objects_of_other_projects_are_valid(objects: list[Object]) -> None:
    for item in objects:
        if foreign_schema.knows(item):
            assert foreign_schema.problems(item) == [], item["kind"]


@needs_crds
def test_ray_service_is_valid_to_kuberay(objects: list[Object]) -> None:
    assert kuberay_schema.problems(one(objects, "RayService")) == []


@needs_crds
@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda spec: spec.update(serveConfig=""), "serveConfig"),
        (lambda spec: spec["rayClusterConfig"].pop("headGroupSpec"), "headGroupSpec"),
        (lambda spec: spec["rayClusterConfig"]["workerGroupSpecs"][0].update(minReplicas="2"), "minReplicas"),
        (lambda spec: spec["rayClusterConfig"]["authOptions"].update(mode="mtls"), "mode"),
        (
            lambda spec: spec["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"][
                0
            ].update(livenesProbe={}),
            "livenesProbe",
        ),
    ],
)
def test_kuberay_schema_finds_a_mistake(change: Callable[[Any], Any], word: str) -> None:
    service = one(objects_of("standard"), "RayService")
    change(service["spec"])
    (problem,) = kuberay_schema.problems(service)
    assert word in problem


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("Ingress", lambda item: item["spec"]["rules"][0]["http"]["paths"][0].update(pathtype="Prefix")),
        ("NetworkPolicy", lambda item: item["spec"].update(policyTypes="Ingress")),
        ("PodDisruptionBudget", lambda item: item["spec"].update(minAvailabel=1)),
        ("ConfigMap", lambda item: item["data"].update(number=1)),
        ("PersistentVolumeClaim", lambda item: item["spec"].pop("resources") and item.update(sepc={})),
    ],
)
def test_kubernetes_schema_finds_a_mistake(kind: str, change: Callable[[Any], Any]) -> None:
    item = next(item for item in objects_of("standard") if item["kind"] == kind)
    change(item)
    assert problem_of_kubernetes(item) is not None


def test_pod_schema_finds_a_mistake(standard: list[Object]) -> None:
    (pod, *_) = pods_of(one(standard, "RayService"))
    pod["spec"]["containers"][0]["readinessProbe"]["httpGet"].pop("port")
    assert problem_of_kubernetes(pod) is not None


FOREIGN: list[tuple[str, str, Callable[[Any], Any]]] = [
    ("standard", "Certificate", lambda spec: spec["privateKey"].update(size=1024)),
    ("standard", "Certificate", lambda spec: spec.pop("issuerRef")),
    ("standard", "PodMonitor", lambda spec: spec["podMetricsEndpoints"][0].update(intervall="15s")),
    ("standard", "PodMonitor", lambda spec: spec["selector"]["matchLabels"].clear()),
    ("standard", "TLSOption", lambda spec: spec.update(minVersion="TLS13")),
    ("large", "Gateway", lambda spec: spec["listeners"][0].update(protocol="https")),
    ("large", "HTTPRoute", lambda spec: spec["rules"][0]["backendRefs"][0].update(port="8000")),
    ("large", "ClientTrafficPolicy", lambda spec: spec["tls"].update(minVersion=1.3)),
]


@pytest.mark.parametrize(("variant", "kind", "change"), FOREIGN)
def test_our_schema_finds_a_mistake(variant: str, kind: str, change: Callable[[Any], Any]) -> None:
    item = one(objects_of(variant), kind)
    assert foreign_schema.problems(item) == []
    change(item["spec"])
    assert len(foreign_schema.problems(item)) == 1


def test_our_schema_finds_a_rule_that_neither_alerts_nor_records() -> None:
    rule: Object = {"alert": "A", "expr": "up == 0", "for": "5m", "labels": {"severity": "page"}}
    item: Object = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "a"},
        "spec": {"groups": [{"name": "a", "rules": [rule]}]},
    }
    assert foreign_schema.problems(item) == []
    rule.pop("alert")
    assert foreign_schema.problems(item)
