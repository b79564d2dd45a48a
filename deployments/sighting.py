"""The cluster as the fleet policy sees it: read from Ray and from Serve's autoscaling contexts."""

from __future__ import annotations

import contextlib
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import ray
from ray._private.state import available_resources_per_node
from ray.serve._private.common import ReplicaID
from ray.serve.config import AutoscalingContext
from ray.util.placement_group import placement_group_table

from deployments.board import Report
from deployments.failures import Failures
from deployments.fleet import CPU, FleetConfig, Footprint, Load, Node, Observation, Phase, Replica
from deployments.load import EngineLoad
from deployments.naming import deployment_name

_TYPE: Final = "accelerator_type:"
_STRANGERS_LOOKS: Final = 5
"""GPUs that others hold are believed once they were held for so many looks: figures lag behind each other."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a replica holds, as Ray's placement groups tell it.

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


class Sighting:
    """Looks at the cluster; remembers what one look alone does not show.

    Args:
        application: Whose replicas are looked at.
    """

    def __init__(self, application: str) -> None:
        self._application = application
        self._ran: set[str] = set()
        self._failures = Failures()
        self._requests = _Counters()
        self._strangers: dict[str, deque[int]] = defaultdict(lambda: deque(maxlen=_STRANGERS_LOOKS))

    def look(
        self,
        contexts: Iterable[AutoscalingContext],
        config: FleetConfig,
        reports: Mapping[str, Report],
    ) -> Observation:
        """The cluster now.

        Args:
            contexts: Serve's, of the application's deployments.
            config: The models.
            reports: What replicas have said of themselves, by their ids.
        """
        by_name = {context.deployment_name: context for context in contexts}
        models = {deployment_name(model.id): model.id for model in config.models}
        held = list(_held(self._application))
        replicas = tuple(self._replica(one, models, by_name, config, reports) for one in held)
        targets = {models.get(name, name): context.target_num_replicas for name, context in by_name.items()}
        self._failures.look(replicas, self._ran, targets, reports)
        self._ran &= {one.replica for one in held}
        nodes = tuple(self._nodes(held, config))
        loads = {
            model: self._load(context, model)
            for name, model in models.items()
            if (context := by_name.get(name)) is not None
        }
        return Observation(nodes, replicas, loads)

    def failure(self, model: str) -> str | None:
        """Why a replica of it did not start last."""
        return self._failures.reason(model)

    def _replica(
        self,
        held: Held,
        models: Mapping[str, str],
        contexts: Mapping[str, AutoscalingContext],
        config: FleetConfig,
        reports: Mapping[str, Report],
    ) -> Replica:
        context = contexts.get(held.deployment)
        running = context is not None and any(
            replica.unique_id == held.replica for replica in context.running_replicas
        )
        if running:
            self._ran.add(held.replica)
            report = reports.get(held.replica)
            phase = Phase.SLEEPING if report is not None and report.sleeping else Phase.RUNNING
        else:
            leaves = context is None or held.replica in self._ran
            phase = Phase.STOPPING if leaves else Phase.STARTING
        model = models.get(held.deployment, held.deployment)
        node, footprint = held.node, held.footprint
        known = config.by_id.get(model)
        if known is not None and known.accelerator == CPU:
            footprint, node = known.footprint, node and cpu_slots(node)
        return Replica(held.replica, model, phase, footprint, node)

    def _load(self, context: AutoscalingContext, model: str) -> Load:
        total, queued = context.total_num_requests, context.total_queued_requests
        engines = dict(_engines(context))
        usages = [engine.kv_cache_usage for engine in engines.values()]
        known = [usage for usage in usages if usage is not None]
        complete = len(known) == len(context.running_replicas) > 0
        # Serve's figures are means over a second; an engine's are of now.
        in_engines = sum(engine.waiting + engine.running for engine in engines.values())
        return Load(
            target=context.target_num_replicas,
            ongoing=max(total - queued, float(in_engines), 0.0),
            queued=queued,
            kv_cache_usage=sum(known) / len(known) if complete else None,
            requests_total=self._requests.total(model, engines),
            failed_starts_total=self._failures.total(model),
        )

    def _nodes(self, held: Iterable[Held], config: FleetConfig) -> Iterator[Node]:
        ours: dict[str, float] = defaultdict(float)
        for one in held:
            if one.node is not None:
                ours[one.node] += one.footprint.total
        wanted = {model.accelerator for model in config.models}
        available = available_resources_per_node()
        for node in ray.nodes():
            if not node["Alive"]:
                continue
            name, resources = node["NodeID"], node["Resources"]
            if config.cpu_engines_per_node:
                yield Node(cpu_slots(name), CPU, config.cpu_engines_per_node)
            kinds = [key.removeprefix(_TYPE) for key in resources if key.startswith(_TYPE)]
            kind = next((one for one in kinds if one in wanted), None)
            gpus = int(resources.get("GPU", 0))
            if kind is None or not gpus:
                continue
            free = available.get(name, {}).get("GPU", 0.0)
            seen = self._strangers[name]
            seen.append(round(gpus - free - ours[name]))
            theirs = max(0, min(seen)) if len(seen) == _STRANGERS_LOOKS else 0
            yield Node(name, kind, gpus - theirs, int(resources.get("memory", 0)))


def cpu_slots(node: str) -> str:
    """The node that a machine's slots for engines without a GPU are."""
    return f"{node}/cpu"


class _Counters:
    """Requests ever taken by a model's replicas: those of replicas that have gone stay counted."""

    def __init__(self) -> None:
        self._last: dict[str, dict[str, int]] = {}
        self._totals: dict[str, int] = defaultdict(int)

    def total(self, model: str, engines: Mapping[str, EngineLoad]) -> int:
        last = self._last.get(model, {})
        now = {replica: engine.requests_total for replica, engine in engines.items()}
        self._totals[model] += sum(max(0, count - last.get(replica, 0)) for replica, count in now.items())
        self._last[model] = now
        return self._totals[model]


def _engines(context: AutoscalingContext) -> Iterator[tuple[str, EngineLoad]]:
    """The latest word of each replica's engine."""
    latest: dict[str, dict[str, float]] = defaultdict(dict)
    for name, by_replica in (context.raw_metrics or {}).items():
        for replica, series in by_replica.items():
            if series:
                latest[replica.unique_id][name] = series[-1].value
    for replica, stats in latest.items():
        with contextlib.suppress(KeyError):  # it has not reported all of it yet
            yield replica, EngineLoad.from_stats(stats)


def _held(application: str) -> Iterator[Held]:
    """What the application's replicas hold; one that stops holds it until it is gone."""
    table: Mapping[str, dict[str, Any]] = placement_group_table()
    for group in table.values():
        if group["state"] == "REMOVED" or not ReplicaID.is_full_id_str(group["name"]):
            continue
        replica = ReplicaID.from_full_id_str(group["name"])
        if replica.deployment_id.app_name != application:
            continue
        shares = [bundle["GPU"] for bundle in group["bundles"].values() if bundle.get("GPU")]
        footprint = Footprint(len(shares), round(max(shares, default=1.0) * 1000))
        placed = group["state"] == "CREATED"
        node = next(iter(group["bundles_to_node_id"].values()), None) if placed else None
        yield Held(replica.unique_id, replica.deployment_id.name, node, footprint)
