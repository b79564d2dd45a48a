"""Which idle models give way to one that waits: those whose being away costs the least."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deployments.fleet.memory import Memory
from deployments.fleet.observation import Footprint
from deployments.fleet.pool import Pool


@dataclass(frozen=True, slots=True)
class Victim:
    """An idle model that could give way, with all its replicas.

    Attributes:
        model: Its name.
        replicas: Their ids.
        cost: Of its being away; see ``cost_of_absence``.
    """

    model: str
    replicas: tuple[str, ...]
    cost: float


def cost_of_absence(memory: Memory, reload_s: float, now: float) -> float:
    """How long clients are likely to wait because a model is away: waited seconds per second.

    A model is asked for again at about the rate at which its pauses end. The pause that it is in counts as
    well: a model idle for long is not expected soon, whatever its history. The size is in the reload time.

    Args:
        memory: What is remembered of it.
        reload_s: Until it would be back: its load time, or its wake time if it would sleep.
        now: The clock, seconds.
    """
    return reload_s / (memory.idle_s(now) + (memory.pause_s or 0.0) + 1.0)


def cheapest(
    pool: Pool, nodes: Iterable[str], footprint: Footprint, victims: Sequence[Victim]
) -> tuple[str, list[Victim]] | None:
    """The victims whose going makes room for a replica at the least cost, and on which node; None: no room.

    Args:
        pool: The GPUs.
        nodes: Where the replica may go.
        footprint: What it takes.
        victims: The models that may be evicted.
    """
    found = [(node, chosen) for node in nodes if (chosen := _on_node(pool, node, footprint, victims))]
    return min(found, key=lambda one: (sum(each.cost for each in one[1]), one[0]), default=None)


def _on_node(pool: Pool, node: str, footprint: Footprint, victims: Sequence[Victim]) -> list[Victim]:
    """The cheapest first until there is room; then those that turn out not to be needed stay."""

    def fits(chosen: Iterable[Victim]) -> bool:
        gone = [replica for victim in chosen for replica in victim.replicas]
        return pool.fit_after(footprint, node, gone) is not None

    chosen: list[Victim] = []
    for victim in sorted(victims, key=lambda one: (one.cost, one.model)):
        if fits(chosen):
            break
        chosen.append(victim)
    if not fits(chosen):
        return []
    for victim in sorted(chosen, key=lambda one: -one.cost):
        without = [each for each in chosen if each is not victim]
        if fits(without):
            chosen = without
    return chosen
