"""A small cluster that does what the policy orders, for tests: nothing in it happens by itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count

from deployments.fleet import (
    Decision,
    FleetConfig,
    FleetModel,
    FleetPolicy,
    FleetState,
    Footprint,
    Load,
    Node,
    Observation,
    Phase,
    Replica,
)
from deployments.fleet.pool import Pool


def model(name: str, **fields: object) -> FleetModel:
    """A model on one GPU, unless told otherwise."""
    return FleetModel.model_validate({"id": name, "accelerator": "A100", **fields})


@dataclass
class Demand:
    """What is asked of one model; ``known`` is False while its figures are missing."""

    ongoing: int = 0
    queued: int = 0
    total: int = 0
    failed: int = 0
    kv: float | None = 0.0
    known: bool = True


class World:
    """A cluster with a policy.

    Args:
        models: The policy's.
        node_gpus: GPUs of each node.
        cpu_slots: Engines on the CPU that the first node takes; None: no limit.
        host_memory_bytes: Of each node.
        rules: Fields of ``FleetConfig``.
    """

    def __init__(
        self,
        *models: FleetModel,
        node_gpus: tuple[int, ...] = (4,),
        cpu_slots: int | None = None,
        host_memory_bytes: int = 0,
        **rules: object,
    ) -> None:
        fields = {"models": models, "cpu_engines_per_node": cpu_slots, **rules}
        self.config = FleetConfig.model_validate(fields)
        gpu_nodes = (Node(f"n{i}", "A100", gpus, host_memory_bytes) for i, gpus in enumerate(node_gpus))
        cpu_nodes = (Node("n0/cpu", "CPU", slots) for slots in [cpu_slots] if slots)
        self.nodes = (*gpu_nodes, *cpu_nodes)
        self.demand = {each.id: Demand() for each in models}
        self.targets = {each.id: 0 for each in models}
        self.replicas: dict[str, Replica] = {}
        self.now = 0.0
        self.policy = FleetPolicy(self.config)
        self.state = FleetState()
        self._numbers = count()

    def observation(self) -> Observation:
        """What the policy sees."""
        loads = {
            name: Load(self.targets[name], each.ongoing, each.queued, each.kv, each.total, each.failed)
            for name, each in self.demand.items()
            if each.known
        }
        return Observation(self.nodes, tuple(self.replicas.values()), loads)

    def tick(self, seconds: float = 1.0) -> Decision:
        """Let time pass, look once, and carry out what is ordered."""
        self.now += seconds
        self.state, decision = self.policy.decide(self.state, self.observation(), self.now)
        self.carry_out(decision)
        return decision

    def carry_out(self, decision: Decision) -> None:
        """Do what is ordered; replicas are placed at once where they fit."""
        for name, target in decision.targets.items():
            self.targets[name] = target
            alive = self.alive(name)
            for replica in alive[target:]:
                self._set(replica, phase=Phase.STOPPING)
            for _ in range(len(alive), target):
                self._start(name)
        for name in decision.sleep:
            (replica,) = self.alive(name)
            self._set(replica, phase=Phase.SLEEPING, footprint=Footprint(0), devices=())
        for name in decision.wake:
            (replica,) = self.alive(name)
            spec = self.config.by_id[name]
            place = Pool(self.nodes, self.replicas.values()).fit(spec.footprint, "A100", replica.node)
            assert place is not None, "woken without room"
            self._set(replica, footprint=spec.footprint, devices=place.devices)

    def _start(self, name: str) -> None:
        spec = self.config.by_id[name]
        place = Pool(self.nodes, self.replicas.values()).fit(spec.footprint, spec.accelerator)
        assert place is not None, f"{name} was started without room"
        key = f"{name}#{next(self._numbers)}"
        self.replicas[key] = Replica(key, name, Phase.STARTING, spec.footprint, place.node, place.devices)

    def _set(self, replica: Replica, **fields: object) -> None:
        self.replicas[replica.id] = replace(replica, **fields)  # type: ignore[arg-type]

    def alive(self, name: str) -> list[Replica]:
        """A model's replicas that do not stop; those that run come first."""
        found = [r for r in self.replicas.values() if r.model == name and r.phase is not Phase.STOPPING]
        return sorted(found, key=lambda replica: replica.phase is not Phase.RUNNING)

    def running(self, name: str) -> int:
        """How many of its replicas run."""
        return sum(replica.phase is Phase.RUNNING for replica in self.alive(name))

    def ask(self, name: str, requests: int = 1) -> None:
        """Requests come: to a replica where one runs."""
        demand = self.demand[name]
        demand.total += requests
        if self.running(name):
            demand.ongoing += requests
        else:
            demand.queued += requests

    def ready(self, name: str | None = None) -> None:
        """Replicas become ready, and take what waits."""
        for replica in list(self.replicas.values()):
            woken = replica.phase is Phase.SLEEPING and replica.footprint.gpus
            if (replica.phase is Phase.STARTING or woken) and name in (None, replica.model):
                self._set(replica, phase=Phase.RUNNING)
                demand = self.demand[replica.model]
                demand.ongoing, demand.queued = demand.ongoing + demand.queued, 0

    def finish(self, name: str) -> None:
        """All its requests end."""
        self.demand[name].ongoing = self.demand[name].queued = 0

    def gone(self) -> None:
        """Replicas that stop are gone."""
        self.replicas = {k: r for k, r in self.replicas.items() if r.phase is not Phase.STOPPING}

    def fail(self, name: str) -> None:
        """Its starting replicas fail; the cluster starts them anew."""
        if any(replica.phase is Phase.STARTING for replica in self.alive(name)):
            self.demand[name].failed += 1

    def settle(self, name: str) -> None:
        """Ask for it, and let it load."""
        self.ask(name)
        self.tick()
        self.ready(name)
        self.tick()
        self.finish(name)
        self.tick()
