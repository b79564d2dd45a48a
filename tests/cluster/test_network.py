"""Who reaches whom by the NetworkPolicies, as Kubernetes reads them: what one opens, none closes."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.cluster.objects import Object, objects_of, pod_templates

HERE = "qwen-serve"


@dataclass(frozen=True, slots=True)
class Peer:
    """A pod, or with an address something outside of Kubernetes."""

    namespace: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    address: str = ""


def matches(selector: Object | None, labels: dict[str, str]) -> bool:
    if selector is None:
        return False
    wanted = selector.get("matchLabels", {})
    terms = selector.get("matchExpressions", [])
    assert all(term["operator"] == "In" for term in terms)
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        labels.get(term["key"]) in term["values"] for term in terms
    )


def is_peer(rule: Object, peer: Peer, namespace: str) -> bool:
    if "ipBlock" in rule:
        inside = [
            ipaddress.ip_network(net) for net in (rule["ipBlock"]["cidr"], *rule["ipBlock"].get("except", []))
        ]
        if not peer.address:
            return False
        address = ipaddress.ip_address(peer.address)
        return address in inside[0] and not any(address in net for net in inside[1:])
    if peer.address:
        return False
    if "namespaceSelector" in rule:
        if not matches(rule["namespaceSelector"], {"kubernetes.io/metadata.name": peer.namespace}):
            return False
    elif peer.namespace != namespace:
        return False
    return "podSelector" not in rule or matches(rule["podSelector"], peer.labels)


def opens(
    objects: list[Object], pod: Peer, other: Peer, port: int, direction: str, protocol: str = "TCP"
) -> bool:
    """Whether a pod of ours may talk with another in a direction, ``Ingress`` or ``Egress``."""
    side = "from" if direction == "Ingress" else "to"
    policies = [
        item["spec"]
        for item in objects
        if item["kind"] == "NetworkPolicy"
        and direction in item["spec"]["policyTypes"]
        and matches(item["spec"]["podSelector"], pod.labels)
    ]
    assert policies, "without any policy everything is open"
    for rule in (rule for spec in policies for rule in spec.get(direction.lower(), [])):
        ports: list[Any] = rule.get("ports", [])
        right_port = not ports or any(
            item["port"] == port and item.get("protocol", "TCP") == protocol for item in ports
        )
        if right_port and any(is_peer(peer, other, HERE) for peer in rule.get(side, [])):
            return True
    return False


def pod(objects: list[Object], group: str) -> Peer:
    return Peer(HERE, dict(pod_templates(objects))[group]["metadata"]["labels"])


GATEWAY = Peer("traefik", {"app.kubernetes.io/name": "traefik"})
STRANGER = Peer(HERE, {"app": "stranger"})
OPERATOR = Peer("kuberay-system", {"app.kubernetes.io/name": "kuberay-operator"})
PROMETHEUS = Peer("monitoring", {"app.kubernetes.io/name": "prometheus"})
RAY_PORTS = (6379, 8265, 10001, 52365, 8076, 8404, 9101, 30000, 10002, 41234)
GROUPS = ("head", "ingress", "a10", "a100-80g")


@pytest.mark.parametrize("group", ["ingress", "a10", "a100-80g"])
def test_gateway_reaches_the_proxy_and_nothing_else(standard: list[Object], group: str) -> None:
    assert opens(standard, pod(standard, group), GATEWAY, 8000, "Ingress")
    assert not any(
        opens(standard, pod(standard, group), GATEWAY, port, "Ingress") for port in (8080, *RAY_PORTS)
    )


def test_gateway_does_not_reach_the_head(standard: list[Object]) -> None:
    assert not any(
        opens(standard, pod(standard, "head"), GATEWAY, port, "Ingress") for port in (8000, *RAY_PORTS)
    )


@pytest.mark.parametrize("group", GROUPS)
def test_another_pod_reaches_nothing(standard: list[Object], group: str) -> None:
    for port in (8000, 8080, *RAY_PORTS):
        assert not opens(standard, pod(standard, group), STRANGER, port, "Ingress")
        assert not opens(standard, pod(standard, group), Peer("traefik-2"), port, "Ingress")


def test_only_the_operator_reaches_the_dashboard(standard: list[Object]) -> None:
    head = pod(standard, "head")
    assert opens(standard, head, OPERATOR, 8265, "Ingress")
    assert not opens(standard, head, OPERATOR, 6379, "Ingress")
    assert not opens(standard, head, Peer("kuberay-system", {"app": "another"}), 8265, "Ingress")
    assert not opens(standard, head, PROMETHEUS, 8265, "Ingress")
    assert not opens(standard, pod(standard, "a10"), OPERATOR, 8265, "Ingress")


@pytest.mark.parametrize("group", GROUPS)
def test_prometheus_reaches_the_figures_only(standard: list[Object], group: str) -> None:
    assert opens(standard, pod(standard, group), PROMETHEUS, 8080, "Ingress")
    assert not opens(standard, pod(standard, group), PROMETHEUS, 8000, "Ingress")


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("other", GROUPS)
def test_nodes_of_ray_reach_each_other(standard: list[Object], group: str, other: str) -> None:
    for port in (8000, *RAY_PORTS):
        for direction in ("Ingress", "Egress"):
            assert opens(standard, pod(standard, group), pod(standard, other), port, direction)


@pytest.mark.parametrize("group", GROUPS)
def test_way_out_is_closed_but_for_names(standard: list[Object], group: str) -> None:
    ours = pod(standard, group)
    dns = Peer("kube-system", {"k8s-app": "kube-dns"})
    assert opens(standard, ours, dns, 53, "Egress", "UDP")
    assert not opens(standard, ours, Peer("kube-system", {"k8s-app": "other"}), 53, "Egress", "UDP")
    assert not opens(standard, ours, Peer(address="93.184.215.14"), 443, "Egress")
    assert not opens(standard, ours, Peer(address="169.254.169.254"), 80, "Egress")


def test_each_component_reaches_what_it_needs_and_the_others_do_not(standard: list[Object]) -> None:
    needs = {
        ("head",): (Peer(HERE, {"app.kubernetes.io/name": "redis"}), 6379),
        ("ingress",): (Peer(HERE, {"app.kubernetes.io/name": "postgresql"}), 5432),
        ("a10", "a100-80g"): (Peer(HERE, {"app": "minio"}), 9000),
    }
    for allowed, (other, port) in needs.items():
        for group in GROUPS:
            found = opens(standard, pod(standard, group), other, port, "Egress")
            assert found == (group in allowed), (group, other)


def test_only_the_head_reaches_the_api_server(standard: list[Object]) -> None:
    found = {
        group: opens(standard, pod(standard, group), Peer(address="10.96.0.1"), 443, "Egress")
        for group in GROUPS
    }
    assert found == {"head": True, "ingress": False, "a10": False, "a100-80g": False}


def test_hub_is_outside_and_private_networks_stay_closed() -> None:
    objects = objects_of("small")
    ours = pod(objects, "a10")
    assert opens(objects, ours, Peer(address="93.184.215.14"), 443, "Egress")
    for address in ("10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"):
        assert not opens(objects, ours, Peer(address=address), 443, "Egress")
    assert not opens(objects, pod(objects, "ingress"), Peer(address="93.184.215.14"), 443, "Egress")


def test_every_pod_is_closed_first(objects: list[Object]) -> None:
    closed = [
        item["spec"]["podSelector"]
        for item in objects
        if item["kind"] == "NetworkPolicy" and not {"ingress", "egress"} & item["spec"].keys()
    ]
    for group, template in pod_templates(objects):
        assert any(matches(selector, template["metadata"]["labels"]) for selector in closed), group
