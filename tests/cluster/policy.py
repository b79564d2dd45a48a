"""What no object of ours may do, each rule a function from an object to what it finds wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from tests.cluster.objects import Object, pod_templates

SECRET_NAME = re.compile(r"TOKEN|PASSWORD|PASSWD|SECRET|API_?KEY|ACCESS_?KEY|CREDENTIAL", re.IGNORECASE)
SECRET_TEXT = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@"
    r"|\b(?:AKIA[0-9A-Z]{16}|sk-[A-Za-z0-9]{20,}|hf_[A-Za-z0-9]{20,}|ghp_[A-Za-z0-9]{20,})\b"
    r"|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\."
)
PINNED = re.compile(r"^[\w./-]+(?::(?!latest$)[\w.-]+|@sha256:[0-9a-f]{64})$")


def containers(objects: list[Object]) -> Iterator[tuple[str, Object, Object]]:
    """Place, container and pod, of each container; the autoscaler's too, which KubeRay adds to the head."""
    for group, template in pod_templates(objects):
        pod = template["spec"]
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            yield f"{group}/{container['name']}", container, pod
        options = _ray_service(objects)["rayClusterConfig"].get("autoscalerOptions")
        if group == "head" and options is not None:
            yield "head/autoscaler", {"image": pod["containers"][0]["image"], **options}, pod


def runs_as_root(objects: list[Object]) -> Iterator[str]:
    for place, container, pod in containers(objects):
        context = {**pod.get("securityContext", {}), **container.get("securityContext", {})}
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
            yield place


def writes_to_its_image(objects: list[Object]) -> Iterator[str]:
    for place, container, _ in containers(objects):
        if container.get("securityContext", {}).get("readOnlyRootFilesystem") is not True:
            yield place


def may_gain_privileges(objects: list[Object]) -> Iterator[str]:
    for place, container, pod in containers(objects):
        context = container.get("securityContext", {})
        capabilities = context.get("capabilities", {})
        seccomp = pod.get("securityContext", {}).get("seccompProfile", {}).get("type")
        bounded = (
            context.get("allowPrivilegeEscalation") is False
            and not context.get("privileged")
            and "ALL" in capabilities.get("drop", [])
            and not capabilities.get("add")
            and seccomp == "RuntimeDefault"
        )
        if not bounded:
            yield place


def has_no_limits(objects: list[Object]) -> Iterator[str]:
    for place, container, _ in containers(objects):
        resources = container.get("resources", {})
        for kind in ("requests", "limits"):
            if not {"cpu", "memory"} <= resources.get(kind, {}).keys():
                yield f"{place}: {kind}"


def has_no_pinned_image(objects: list[Object]) -> Iterator[str]:
    for place, container, _ in containers(objects):
        if not PINNED.match(container["image"]):
            yield f"{place}: {container['image']}"


def shares_the_host(objects: list[Object]) -> Iterator[str]:
    for group, template in pod_templates(objects):
        pod = template["spec"]
        yield from (f"{group}: {key}" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key))
        for volume in pod.get("volumes", []):
            # The weights, on the machine's own disk.
            if "hostPath" in volume and volume["name"] != "model-cache":
                yield f"{group}: hostPath {volume['hostPath']['path']}"
        for container in pod["containers"]:
            yield from (f"{group}: hostPort" for port in container.get("ports", []) if "hostPort" in port)


def leaves_space_unbounded(objects: list[Object]) -> Iterator[str]:
    """A folder without a limit could fill the machine's disk, or its memory."""
    for group, template in pod_templates(objects):
        for volume in template["spec"].get("volumes", []):
            if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
                yield f"{group}: {volume['name']}"


def is_not_probed(objects: list[Object]) -> Iterator[str]:
    for group, template in pod_templates(objects):
        container = template["spec"]["containers"][0]
        missing = {"startupProbe", "livenessProbe", "readinessProbe"} - container.keys()
        yield from (f"{group}: {probe}" for probe in sorted(missing))


def tells_a_secret(objects: list[Object]) -> Iterator[str]:
    """A secret is named, never written down: in no variable, no object, no text."""
    for item in objects:
        if item["kind"] == "Secret":
            yield f"Secret {item['metadata']['name']}"
        for path, value in _leaves(item, item["kind"]):
            if SECRET_TEXT.search(str(value)):
                yield path
    for place, container, _ in containers(objects):
        for variable in container.get("env", []):
            if SECRET_NAME.search(variable["name"]) and "value" in variable:
                yield f"{place}: {variable['name']}"
    options = _ray_service(objects)["rayClusterConfig"].get("gcsFaultToleranceOptions", {})
    yield from (key for key in ("redisPassword", "redisUsername") if "value" in options.get(key, {}))


def opens_secrets_to_others(objects: list[Object]) -> Iterator[str]:
    for group, template in pod_templates(objects):
        for volume in template["spec"].get("volumes", []):
            source = volume.get("secret") or volume.get("projected")
            if source is not None and source.get("defaultMode", 0o644) & 0o037:
                yield f"{group}: {volume['name']}"


def is_reachable_from_outside(objects: list[Object]) -> Iterator[str]:
    service = _ray_service(objects)
    if service["rayClusterConfig"]["headGroupSpec"].get("serviceType") != "ClusterIP":
        yield "headGroupSpec.serviceType"
    for item in objects:
        if item["kind"] == "Service" and item["spec"].get("type") in ("NodePort", "LoadBalancer"):
            yield item["metadata"]["name"]


def takes_a_token_it_does_not_need(objects: list[Object]) -> Iterator[str]:
    """Only the autoscaler, which sits in the head's pod, talks to Kubernetes."""
    scales = _ray_service(objects)["rayClusterConfig"].get("enableInTreeAutoscaling")
    for group, template in pod_templates(objects):
        if (
            not (group == "head" and scales)
            and template["spec"].get("automountServiceAccountToken") is not False
        ):
            yield group


def lets_anybody_use_ray(objects: list[Object]) -> Iterator[str]:
    if _ray_service(objects)["rayClusterConfig"].get("authOptions", {}).get("mode") != "token":
        yield "authOptions.mode"


def serves_without_tls_1_3(objects: list[Object]) -> Iterator[str]:
    kinds = {item["kind"]: item for item in objects}
    if ingress := kinds.get("Ingress"):
        notes = ingress["metadata"]["annotations"]
        contour = notes.get("projectcontour.io/tls-minimum-protocol-version") == "1.3"
        option = kinds.get("TLSOption", {}).get("spec", {}).get("minVersion") == "VersionTLS13"
        named = notes.get("traefik.ingress.kubernetes.io/router.tls.options") == "{}-{}@kubernetescrd".format(
            ingress["metadata"]["namespace"], kinds.get("TLSOption", {}).get("metadata", {}).get("name")
        )
        plain = notes.get("traefik.ingress.kubernetes.io/router.entrypoints") != "websecure"
        if not contour and not (option and named and not plain):
            yield "Ingress"
        if {host for tls in ingress["spec"].get("tls", []) for host in tls["hosts"]} != {
            rule["host"] for rule in ingress["spec"]["rules"]
        }:
            yield "Ingress: a host without a certificate"
    if gateway := kinds.get("Gateway"):
        if {listener["protocol"] for listener in gateway["spec"]["listeners"]} != {"HTTPS"}:
            yield "Gateway: a listener without TLS"
        policy = kinds.get("ClientTrafficPolicy", {}).get("spec", {})
        targets = {target["name"] for target in policy.get("targetRefs", [])}
        if policy.get("tls", {}).get("minVersion") != "1.3" or gateway["metadata"]["name"] not in targets:
            yield "Gateway"


def _ray_service(objects: list[Object]) -> Object:
    (service,) = [item for item in objects if item["kind"] == "RayService"]
    spec: Object = service["spec"]
    return spec


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves(part, f"{path}.{key}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _leaves(part, f"{path}[{index}]")
    else:
        yield path, value


POLICIES: tuple[Callable[[list[Object]], Iterator[str]], ...] = (
    runs_as_root,
    writes_to_its_image,
    may_gain_privileges,
    has_no_limits,
    has_no_pinned_image,
    shares_the_host,
    leaves_space_unbounded,
    is_not_probed,
    tells_a_secret,
    opens_secrets_to_others,
    is_reachable_from_outside,
    takes_a_token_it_does_not_need,
    lets_anybody_use_ray,
    serves_without_tls_1_3,
)
