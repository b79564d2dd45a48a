"""The cluster as the fleet policy sees it: put together from Ray's GPUs and Serve's autoscaling contexts."""

from __future__ import annotations

import contextlib
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, Protocol

from ray.serve.config import AutoscalingContext

from deployments.board import Report
from deployments.failures import Failures
from deployments.fleet import CPU, FleetConfig, Load, Node, Observation, Phase, Replica
from deployments.gpus import Held, Machine
from deployments.load import EngineLoad
from deployments.naming import deployment_name

_STRANGERS_LOOKS: Final = 5
"""GPUs that others hold are believed once they were held for so many looks: figures lag behind each other."""


class Gpus(Protocol):
    """Tells machines and what replicas hold; Ray does."""

    def machines(self) -> list[Machine]:
        """All that are alive."""

    def held(self, application: str) -> list[Held]:
        """What an application's replicas hold."""


class Sighting:
    """Looks at the cluster; remembers what one look alone does not show.

    Args:
        application: Whose replicas are looked at.
        gpus: Tells of machines and GPUs.
    """

    def __init__(self, application: str, gpus: Gpus) -> None:
        self._application = application
        self._gpus = gpus
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
        held = self._gpus.held(self._application)
        running = {replica.unique_id for context in by_name.values() for replica in context.running_replicas}
        self._ran = (self._ran | running) & {one.replica for one in held}
        replicas = tuple(
            _replica(one, models.get(one.deployment), self._phase(one, by_name, running, reports), config)
            for one in held
        )
        targets = {models.get(name, name): context.target_num_replicas for name, context in by_name.items()}
        self._failures.look(replicas, self._ran | running, targets, reports)
        loads = {
            model: self._load(context, model)
            for name, model in models.items()
            if (context := by_name.get(name)) is not None
        }
        return Observation(tuple(self._nodes(held, config)), replicas, loads)

    def failure(self, model: str) -> str | None:
        """Why a replica of it did not start last."""
        return self._failures.reason(model)

    def _phase(
        self,
        held: Held,
        contexts: Collection[str],
        running: Collection[str],
        reports: Mapping[str, Report],
    ) -> Phase:
        if held.replica in running:
            report = reports.get(held.replica)
            return Phase.SLEEPING if report is not None and report.sleeping else Phase.RUNNING
        leaves = held.deployment not in contexts or held.replica in self._ran
        return Phase.STOPPING if leaves else Phase.STARTING

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
        ours: dict[str | None, float] = defaultdict(float)
        for one in held:
            ours[one.node] += one.footprint.total
        wanted = {model.accelerator for model in config.models}
        for machine in self._gpus.machines():
            if config.cpu_engines_per_node:
                yield Node(cpu_slots(machine.id), CPU, config.cpu_engines_per_node)
            kind = next((kind for kind in machine.kinds if kind in wanted), None)
            if kind is None or not machine.gpus:
                continue
            seen = self._strangers[machine.id]
            seen.append(round(machine.gpus - machine.free - ours[machine.id]))
            theirs = max(0, min(seen)) if len(seen) == _STRANGERS_LOOKS else 0
            yield Node(machine.id, kind, machine.gpus - theirs, machine.memory_bytes)


def cpu_slots(node: str) -> str:
    """The node that a machine's slots for engines without a GPU are."""
    return f"{node}/cpu"


def _replica(held: Held, model: str | None, phase: Phase, config: FleetConfig) -> Replica:
    node, footprint = held.node, held.footprint
    known = config.by_id.get(model) if model is not None else None
    if known is not None and known.accelerator == CPU:
        footprint, node = known.footprint, node and cpu_slots(node)
    return Replica(held.replica, model or held.deployment, phase, footprint, node)


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
