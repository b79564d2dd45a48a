"""What the fleet policy sees at one moment: machines, replicas, load. An adapter reads it from the cluster.

A figure that is not known is None, never a guess: the policy then changes nothing that hangs on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Phase(StrEnum):
    """Where a replica is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    SLEEPING = "sleeping"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a replica holds: some GPUs of one node, and the same share of each.

    Attributes:
        gpus: Distinct GPUs, or one slot of the CPU where these are limited; 0 for an engine on the CPU where
            they are not, or one that sleeps and has given its GPUs back.
        share: Of each of them, in thousandths, so that shares add up exactly.
    """

    gpus: int
    share: int = 1000

    @property
    def total(self) -> float:
        """GPUs, fractions added up."""
        return self.gpus * self.share / 1000


NOTHING = Footprint(0)
"""Of a replica that needs no GPU."""


@dataclass(frozen=True, slots=True)
class Node:
    """A machine, or its slots for engines without a GPU: a machine that has both is there twice.

    Attributes:
        id: The cluster's id of it; of its slots, the same followed by ``/cpu``.
        accelerator: Its GPU type, as models name it; ``CPU`` for slots.
        gpus: GPUs, or slots, that the fleet may use; what others hold is already taken off.
        host_memory_bytes: For models that sleep.
    """

    id: str
    accelerator: str
    gpus: int
    host_memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Replica:
    """A replica, as long as it holds anything: until its processes and its placement group are gone.

    Attributes:
        id: Unique, and the same for as long as it lives.
        model: Whose it is; a model that is no longer configured may still hold GPUs.
        phase: Where it is in its life.
        footprint: What it holds.
        node: Where, by the id of the ``Node`` that it holds a part of; None while it waits to be placed.
        devices: Which of the node's GPUs, where that is known; empty otherwise.
    """

    id: str
    model: str
    phase: Phase
    footprint: Footprint
    node: str | None
    devices: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of one model now, over all ingress replicas and replicas.

    Attributes:
        target: Replicas that the cluster aims at for it.
        ongoing: Requests at its replicas, running or waiting in the engine; now, not a mean over a window.
        queued: Requests that wait at the ingress.
        kv_cache_usage: Mean over its running replicas, 0 to 1.
        requests_total: Requests ever asked, a counter: shows those that come and go between two looks.
        failed_starts_total: Replicas that did not become ready, a counter.
    """

    target: int | None = None
    ongoing: float | None = None
    queued: float | None = None
    kv_cache_usage: float | None = None
    requests_total: int | None = None
    failed_starts_total: int | None = None

    @property
    def in_hand(self) -> float | None:
        """All its requests; None where a part is not known."""
        if self.ongoing is None or self.queued is None:
            return None
        return self.ongoing + self.queued


UNKNOWN = Load()
"""Nothing is known of a model."""


@dataclass(frozen=True, slots=True)
class Observation:
    """The cluster at one moment.

    Attributes:
        nodes: All machines with GPUs or slots; a machine that is not here has none for the fleet.
        replicas: Of all models, those that stop included.
        loads: By model; one that is missing is not known.
    """

    nodes: tuple[Node, ...] = ()
    replicas: tuple[Replica, ...] = ()
    loads: Mapping[str, Load] = field(default_factory=dict)
