"""No rule of ``policy`` finds anything in what we render, and each finds what was put there to be found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster import policy
from tests.cluster.objects import Object, objects_of, one, pod_templates
from tests.cluster.policy import POLICIES

Policy = Callable[[list[Object]], Iterator[str]]


@pytest.mark.parametrize("rule", POLICIES, ids=lambda rule: rule.__name__)
def test_nothing_is_found_in_what_is_rendered(rule: Policy, objects: list[Object]) -> None:
    assert list(rule(objects)) == []


def cluster(objects: list[Object]) -> Any:
    return one(objects, "RayService")["spec"]["rayClusterConfig"]


def pod(objects: list[Object], group: str = "a10") -> Any:
    return dict(pod_templates(objects))[group]["spec"]


def container(objects: list[Object], group: str = "a10") -> Any:
    return pod(objects, group)["containers"][0]


def volume(objects: list[Object], name: str) -> Any:
    return next(found for found in pod(objects)["volumes"] if found["name"] == name)


SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": {"a": "b"}}
REQUESTS = {"cpu": "1", "memory": "1Gi"}
URL = "redis://:not-a-real-password@redis:6379"

MISTAKES: list[tuple[Policy, str, Callable[[list[Object]], Any]]] = [
    (policy.runs_as_root, "user", lambda o: pod(o)["securityContext"].update(runAsUser=0)),
    (policy.runs_as_root, "unsaid", lambda o: pod(o)["securityContext"].pop("runAsUser")),
    (policy.runs_as_root, "container", lambda o: container(o)["securityContext"].update(runAsNonRoot=False)),
    (
        policy.runs_as_root,
        "autoscaler",
        lambda o: cluster(o)["autoscalerOptions"]["securityContext"].update(runAsNonRoot=False),
    ),
    (
        policy.writes_to_its_image,
        "container",
        lambda o: container(o)["securityContext"].update(readOnlyRootFilesystem=False),
    ),
    (
        policy.writes_to_its_image,
        "autoscaler",
        lambda o: cluster(o)["autoscalerOptions"].pop("securityContext"),
    ),
    (
        policy.may_gain_privileges,
        "escalation",
        lambda o: container(o)["securityContext"].pop("allowPrivilegeEscalation"),
    ),
    (
        policy.may_gain_privileges,
        "privileged",
        lambda o: container(o)["securityContext"].update(privileged=True),
    ),
    (
        policy.may_gain_privileges,
        "capability",
        lambda o: container(o)["securityContext"]["capabilities"].update(add=["SYS_ADMIN"]),
    ),
    (policy.may_gain_privileges, "seccomp", lambda o: pod(o)["securityContext"].pop("seccompProfile")),
    (policy.has_no_limits, "memory", lambda o: container(o)["resources"]["limits"].pop("memory")),
    (policy.has_no_limits, "requests", lambda o: container(o, "head")["resources"].pop("requests")),
    (
        policy.has_no_limits,
        "init",
        lambda o: pod(o).update(initContainers=[{"name": "a", "resources": {"requests": REQUESTS}}]),
    ),
    (policy.has_no_pinned_image, "latest", lambda o: container(o).update(image="qwen-serve-gpu:latest")),
    (policy.has_no_pinned_image, "no tag", lambda o: container(o).update(image="qwen-serve-gpu")),
    (policy.has_no_pinned_image, "autoscaler", lambda o: cluster(o)["autoscalerOptions"].update(image="ray")),
    (policy.shares_the_host, "network", lambda o: pod(o).update(hostNetwork=True)),
    (policy.shares_the_host, "ipc", lambda o: pod(o, "head").update(hostIPC=True)),
    (policy.shares_the_host, "port", lambda o: container(o)["ports"][0].update(hostPort=8000)),
    (policy.shares_the_host, "path", lambda o: volume(o, "tmp").update(hostPath={"path": "/"})),
    (policy.leaves_space_unbounded, "tmp", lambda o: volume(o, "tmp").update(emptyDir={})),
    (policy.is_not_probed, "readiness", lambda o: container(o).pop("readinessProbe")),
    (policy.tells_a_secret, "object", lambda o: o.append(SECRET)),
    (
        policy.tells_a_secret,
        "variable",
        lambda o: container(o)["env"].append({"name": "HF_TOKEN", "value": "x"}),
    ),
    (policy.tells_a_secret, "url", lambda o: cluster(o)["gcsFaultToleranceOptions"].update(redisAddress=URL)),
    (
        policy.tells_a_secret,
        "key",
        lambda o: one(o, "ConfigMap", "qwen-serve-haproxy")["data"].update(a="-----BEGIN PRIVATE KEY-----"),
    ),
    (
        policy.tells_a_secret,
        "redis",
        lambda o: cluster(o)["gcsFaultToleranceOptions"].update(redisPassword={"value": "x"}),
    ),
    (
        policy.opens_secrets_to_others,
        "mode",
        lambda o: volume(o, "secrets")["projected"].update(defaultMode=0o444),
    ),
    (
        policy.opens_secrets_to_others,
        "default",
        lambda o: volume(o, "secrets")["projected"].pop("defaultMode"),
    ),
    (
        policy.is_reachable_from_outside,
        "head",
        lambda o: cluster(o)["headGroupSpec"].update(serviceType="LoadBalancer"),
    ),
    (
        policy.is_reachable_from_outside,
        "service",
        lambda o: o.append({"kind": "Service", "metadata": {"name": "a"}, "spec": {"type": "NodePort"}}),
    ),
    (
        policy.takes_a_token_it_does_not_need,
        "worker",
        lambda o: pod(o).update(automountServiceAccountToken=True),
    ),
    (policy.lets_anybody_use_ray, "mode", lambda o: cluster(o)["authOptions"].update(mode="disabled")),
    (
        policy.serves_without_tls_1_3,
        "version",
        lambda o: one(o, "TLSOption")["spec"].update(minVersion="VersionTLS12"),
    ),
    (policy.serves_without_tls_1_3, "other", lambda o: one(o, "TLSOption")["metadata"].update(name="other")),
    (
        policy.serves_without_tls_1_3,
        "host",
        lambda o: one(o, "Ingress")["spec"]["rules"][0].update(host="a.cn"),
    ),
]


@pytest.mark.parametrize(
    ("rule", "what", "change"), MISTAKES, ids=lambda part: getattr(part, "__name__", part)
)
def test_rule_finds_what_was_put_there(
    rule: Policy, what: str, change: Callable[[list[Object]], Any]
) -> None:
    objects = objects_of("standard")
    change(objects)
    assert len(list(rule(objects))) == 1, what


def test_rule_finds_a_gateway_that_takes_older_tls_or_none() -> None:
    objects = objects_of("large")
    one(objects, "ClientTrafficPolicy")["spec"]["tls"]["minVersion"] = "1.2"
    one(objects, "Gateway")["spec"]["listeners"].append({"name": "http", "port": 80, "protocol": "HTTP"})
    assert len(list(policy.serves_without_tls_1_3(objects))) == 2


def test_rule_finds_a_contour_ingress_that_takes_older_tls() -> None:
    objects = objects_of("contour")
    one(objects, "Ingress")["metadata"]["annotations"].pop("projectcontour.io/tls-minimum-protocol-version")
    assert list(policy.serves_without_tls_1_3(objects)) == ["Ingress"]


def test_every_rule_was_proven_to_find_something() -> None:
    assert {rule for rule, _, _ in MISTAKES} == set(POLICIES)
