"""Kubernetes objects that the chart renders, and where their pods are."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import yaml

from cluster.helm import chart

Object = dict[str, Any]

VARIANTS: Mapping[str, tuple[str, Object]] = {
    "defaults": ("", {}),
    "small": ("small", {}),
    "standard": ("standard", {}),
    "large": ("large", {}),
    # What no profile switches on.
    "contour": ("standard", {"entrance": {"controller": "contour", "annotations": {"a.example/b": "c"}}}),
    "gateway": ("standard", {"entrance": {"kind": "gateway"}}),
    "own-entrance": ("standard", {"entrance": {"kind": "none"}, "serve": {"haproxy": False}}),
    "filebeat": (
        "standard",
        {
            "filebeat": {"enabled": True, "elasticsearchUrl": "https://elasticsearch:9200"},
            "secrets": {"elasticsearch": {"name": "elastic"}, "hub": {"name": "hub"}},
        },
    ),
    "shared-cache": ("standard", {"modelCache": {"type": "claim", "claimName": "weights"}}),
    "own-volume": ("standard", {"modelCache": {"type": "ephemeral", "storageClassName": "local-nvme"}}),
    "disk-cache": ("standard", {"modelCache": {"type": "emptyDir"}, "state": {"existingClaim": "state"}}),
    "in-steps": (
        "large",
        {
            "upgrade": {
                "strategy": "NewClusterWithIncrementalUpgrade",
                "incremental": {"gatewayClassName": "envoy"},
            }
        },
    ),
    "by-digest": (
        "small",
        {
            "image": {"digest": f"sha256:{'0' * 64}", "pullSecrets": [{"name": "pull"}]},
            "secrets": {"rayToken": {"name": "token"}},
        },
    ),
}
"""Names of what is tested: a profile, and values over it."""


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> Object:
    """Values over values, as Helm lays several files over each other."""
    result = copy.deepcopy(dict(base))
    for key, value in over.items():
        below = result.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            result[key] = merged(below, value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def values_of(variant: str, over: Mapping[str, Any] | None = None) -> Object:
    profile, own = VARIANTS[variant]
    return merged(merged(chart.values_of(profile), own), over or {})


@cache
def _rendered(variant: str) -> tuple[Object, ...]:
    return tuple(rendered(values_of(variant)))


def objects_of(variant: str) -> list[Object]:
    """All objects of a variant; the caller may change them."""
    return copy.deepcopy(list(_rendered(variant)))


def simulated(**application: Any) -> list[Object]:
    """The chart with one replica of the ingress and a simulated model on an A10.

    Args:
        application: Further keys of the application.
    """
    model = {
        "id": "qwen-sim",
        "source": "simulated",
        "kind": "text",
        "accelerator": "A10",
        "max_model_len": 4096,
        "simulation": {"step_s": 0.01},
    }
    return rendered(
        {
            "ingress": {"serveReplicas": 1},
            "application": {
                "allow_simulated_models": True,
                "models": [model],
                "aliases": {"qwen-plus": "qwen-sim", "qwen-turbo": "qwen-sim"},
                **application,
            },
        }
    )


def rendered(values: Mapping[str, Any]) -> list[Object]:
    """All objects of some values."""
    return parsed(chart.render(values).documents.values())


def parsed(texts: Iterable[str]) -> list[Object]:
    """The objects of YAML texts."""
    return [found for text in texts for found in yaml.safe_load_all(text) if found]


def one(objects: list[Object], kind: str, name: str = "") -> Object:
    """The only object of a kind, or the one of a name."""
    (found,) = [item for item in objects if item["kind"] == kind and name in ("", item["metadata"]["name"])]
    return found


def pod_templates(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Group and pod template, of everything that becomes a pod."""
    cluster = one(objects, "RayService")["spec"]["rayClusterConfig"]
    yield "head", cluster["headGroupSpec"]["template"]
    for group in cluster["workerGroupSpecs"]:
        yield group["groupName"], group["template"]


def serve_config(objects: list[Object]) -> Object:
    """The Serve configuration of the RayService."""
    content: Object = yaml.safe_load(one(objects, "RayService")["spec"]["serveConfigV2"])
    return content
