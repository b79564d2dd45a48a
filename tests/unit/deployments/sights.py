"""A cluster that tests make up: GPUs, and what Serve knows of deployments."""

from __future__ import annotations

from dataclasses import dataclass, field

from ray.serve._private.common import DeploymentID, ReplicaID, TimeStampedValue
from ray.serve.config import AutoscalingContext

from deployments.fleet import Footprint
from deployments.gpus import Held, Machine
from deployments.load import EngineLoad
from deployments.naming import deployment_name

APPLICATION = "qwen-serve"


def identity(model: str) -> DeploymentID:
    return DeploymentID(name=deployment_name(model), app_name=APPLICATION)


@dataclass
class MadeUpGpus:
    """What Ray would tell."""

    nodes: list[Machine] = field(default_factory=list)
    replicas: list[Held] = field(default_factory=list)

    def machines(self) -> list[Machine]:
        return self.nodes

    def held(self, application: str) -> list[Held]:
        assert application == APPLICATION
        return self.replicas


def held(model: str, replica: str, node: str | None = "n1", gpus: int = 1) -> Held:
    return Held(replica, deployment_name(model), node, Footprint(gpus))


def machine(name: str = "n1", gpus: int = 4, free: float = 4.0, *kinds: str) -> Machine:
    return Machine(name, kinds or ("A100",), gpus, free, 0)


def context(
    model: str,
    *running: str,
    target: int = 0,
    total: float = 0.0,
    queued: float = 0.0,
    engines: dict[str, EngineLoad] | None = None,
) -> AutoscalingContext:
    """What Serve would hand to a policy."""
    raw: dict[str, dict[ReplicaID, list[TimeStampedValue]]] = {}
    for replica, load in (engines or {}).items():
        for name, value in load.to_stats().items():
            series = [TimeStampedValue(0.0, -1.0), TimeStampedValue(1.0, value)]
            raw.setdefault(name, {})[ReplicaID(replica, identity(model))] = series
    return AutoscalingContext(
        deployment_id=identity(model),
        deployment_name=deployment_name(model),
        app_name=APPLICATION,
        current_num_replicas=len(running),
        target_num_replicas=target,
        running_replicas=[ReplicaID(replica, identity(model)) for replica in running],
        total_num_requests=total,
        total_queued_requests=queued,
        aggregated_metrics=None,
        raw_metrics=raw,
        capacity_adjusted_min_replicas=0,
        capacity_adjusted_max_replicas=4,
        policy_state={},
        last_scale_up_time=None,
        last_scale_down_time=None,
        current_time=0.0,
        config=None,
    )
