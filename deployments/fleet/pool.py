"""The GPUs: what is free on which node, and where a replica would fit. Mutable, and made anew for each look.

Never more is given away than there is: a replica holds its GPUs from the order to start it until it is gone.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Sequence
from dataclasses import dataclass

from deployments.fleet.observation import Footprint, Node, Phase, Replica

_WHOLE = 1000


@dataclass(slots=True)
class Device:
    """One GPU, in thousandths of it.

    Attributes:
        free: Given to nobody.
        leaving: Held by replicas that stop: free soon.
    """

    free: int = _WHOLE
    leaving: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a replica fits: a node, and which of its GPUs."""

    node: str
    devices: tuple[int, ...]


ANYWHERE = Place("", ())
"""For what needs no GPU."""


class Pool:
    """The GPUs of all nodes.

    Args:
        nodes: The machines.
        replicas: What holds GPUs. Where the devices are not known, the fullest that fit are taken, which is
            how Ray gives out fractions.
    """

    def __init__(self, nodes: Iterable[Node], replicas: Iterable[Replica]) -> None:
        self._nodes = {node.id: node for node in nodes}
        self._devices = {node.id: [Device() for _ in range(node.gpus)] for node in self._nodes.values()}
        self._held: dict[str, tuple[Place, int]] = {}
        placed = [replica for replica in replicas if replica.node in self._nodes and replica.footprint.gpus]
        # Those whose devices are known come first, then the large ones: the small ones fit what is left.
        for replica in sorted(placed, key=lambda one: (not one.devices, -one.footprint.total)):
            self._hold(replica)

    def _hold(self, replica: Replica) -> None:
        assert replica.node is not None
        devices, footprint = self._devices[replica.node], replica.footprint
        indices = [index for index in replica.devices if index < len(devices)]
        indices = indices or _pick([one.free for one in devices], footprint)
        # Where more is held than there is by this account, the node counts as full.
        indices = indices or list(range(len(devices)))
        for index in indices:
            share = min(devices[index].free, footprint.share)
            devices[index].free -= share
            devices[index].leaving += share if replica.phase is Phase.STOPPING else 0
        self._held[replica.id] = Place(replica.node, tuple(indices)), footprint.share

    def candidates(self, accelerator: str | None, node: str | None = None) -> list[str]:
        """The nodes with GPUs of that type; of them only ``node``, if it is given."""
        nodes = self._nodes.values()
        return [one.id for one in nodes if one.accelerator == accelerator and node in (None, one.id)]

    def fit(self, footprint: Footprint, accelerator: str | None, node: str | None = None) -> Place | None:
        """Where a replica fits now, on the node where the least is left over; None: nowhere.

        Args:
            footprint: What it takes.
            accelerator: The GPU type that it needs.
            node: Only there.
        """
        if not footprint.gpus:
            return ANYWHERE
        best: tuple[int, Place] | None = None
        for name in self.candidates(accelerator, node):
            free = [device.free for device in self._devices[name]]
            indices = _pick(free, footprint)
            if indices and (best is None or sum(free) < best[0]):
                best = sum(free), Place(name, tuple(indices))
        return best[1] if best else None

    def fit_after(self, footprint: Footprint, node: str, gone: Iterable[str] = ()) -> Place | None:
        """Where on a node a replica fits once those that stop are gone, and ``gone`` too; None: nowhere.

        Args:
            footprint: What it takes.
            node: Where.
            gone: Ids of replicas.
        """
        free = [device.free + device.leaving for device in self._devices[node]]
        for name in gone:
            place, share = self._held.get(name, (ANYWHERE, 0))
            if place.node == node:
                for index in place.devices:
                    free[index] = min(_WHOLE, free[index] + share)
        indices = _pick(free, footprint)
        return Place(node, tuple(indices)) if indices else None

    def take(self, place: Place, footprint: Footprint) -> None:
        """Give it away: what is free first, then what will be; what others still hold is not touched."""
        for index in place.devices:
            device = self._devices[place.node][index]
            now = min(device.free, footprint.share)
            device.free -= now
            device.leaving -= min(device.leaving, footprint.share - now)

    def keep(self, footprint: Footprint, node: str, beside: Pool) -> None:
        """Reserve the GPUs of a node that are nearest to being free: what leaves them goes to nobody else.

        Args:
            footprint: What is to fit there in the end.
            node: Where.
            beside: The same node with those only that never leave; it fits beside them.
        """
        devices, lasting = self._devices[node], beside._devices[node]
        usable = [index for index, one in enumerate(lasting) if one.free >= footprint.share]
        usable.sort(key=lambda index: -devices[index].free - devices[index].leaving)
        self.take(Place(node, tuple(usable[: footprint.gpus])), footprint)

    def vacant(self, node: str) -> int:
        """Thousandths of GPUs that are free there, or will be."""
        return sum(device.free + device.leaving for device in self._devices[node])

    def frees(self, replicas: Collection[str], gone: Container[str]) -> bool:
        """Whether a whole GPU is free once ``gone`` are gone that these replicas hold a part of.

        Args:
            replicas: Their ids; where none of them holds a GPU, there is nothing to be shared.
            gone: Ids of replicas, these among them.
        """
        held = [self._held[name][0] for name in replicas if name in self._held]
        staying = {
            (place.node, device)
            for name, (place, _) in self._held.items()
            if name not in gone
            for device in place.devices
        }
        return not held or any((place.node, each) not in staying for place in held for each in place.devices)

    def stop(self, replica: str) -> None:
        """It has been told to stop: what it holds will be free."""
        place, share = self._held.pop(replica, (ANYWHERE, 0))
        for index in place.devices:
            device = self._devices[place.node][index]
            device.leaving += min(share, _WHOLE - device.free - device.leaving)


def _pick(free: Sequence[int], footprint: Footprint) -> list[int]:
    """The fullest devices on which it fits; empty: it does not."""
    fitting = sorted((share, index) for index, share in enumerate(free) if share >= footprint.share)
    return [index for _, index in fitting[: footprint.gpus]] if len(fitting) >= footprint.gpus else []
