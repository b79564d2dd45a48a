"""The GPUs as Ray tells them: which machines there are, and what Serve's replicas hold of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import ray
from ray._private.state import available_resources_per_node
from ray.serve._private.common import ReplicaID
from ray.util.placement_group import placement_group_table

from deployments.fleet import Footprint

TYPE_PREFIX: Final = "accelerator_type:"
"""Of the resource by which a machine tells the type of its GPUs."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A node of the cluster.

    Attributes:
        id: Ray's id of it.
        kinds: What Ray calls its GPUs; an A100 may be there as A100 and as A100-80G.
        gpus: How many.
        free: Of them, held by nobody; fractions add up.
        memory_bytes: Of the host, as far as Ray gives it out.
    """

    id: str
    kinds: tuple[str, ...]
    gpus: int
    free: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Held:
    """What a replica holds, until it is gone.

    Attributes:
        replica: Serve's id, unlike any other.
        deployment: Serve's name.
        node: None while it waits to be placed.
        footprint: GPUs.
    """

    replica: str
    deployment: str
    node: str | None
    footprint: Footprint


class RayGpus:
    """Asks Ray's control store; a few milliseconds."""

    def machines(self) -> list[Machine]:
        """All that are alive."""
        available = available_resources_per_node()
        return [_machine(node, available) for node in ray.nodes() if node["Alive"]]

    def held(self, application: str) -> list[Held]:
        """What an application's replicas hold."""
        groups: Mapping[str, dict[str, Any]] = placement_group_table()
        found = []
        for group in groups.values():
            if group["state"] == "REMOVED" or not ReplicaID.is_full_id_str(group["name"]):
                continue
            replica = ReplicaID.from_full_id_str(group["name"])
            if replica.deployment_id.app_name == application:
                found.append(_held(replica, group))
        return found


def _machine(node: Mapping[str, Any], available: Mapping[str, Mapping[str, float]]) -> Machine:
    resources = node["Resources"]
    return Machine(
        node["NodeID"],
        tuple(key.removeprefix(TYPE_PREFIX) for key in resources if key.startswith(TYPE_PREFIX)),
        int(resources.get("GPU", 0)),
        available.get(node["NodeID"], {}).get("GPU", 0.0),
        int(resources.get("memory", 0)),
    )


def _held(replica: ReplicaID, group: Mapping[str, Any]) -> Held:
    shares = [bundle["GPU"] for bundle in group["bundles"].values() if bundle.get("GPU")]
    footprint = Footprint(len(shares), round(max(shares, default=1.0) * 1000))
    placed = group["state"] == "CREATED"
    node = next(iter(group["bundles_to_node_id"].values()), None) if placed else None
    return Held(replica.unique_id, replica.deployment_id.name, node, footprint)
