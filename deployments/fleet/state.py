"""What the fleet policy carries from one look to the next. Lost in a restart, it is learned anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from deployments.fleet.memory import Memory
from deployments.fleet.queue import Claim


@dataclass(frozen=True, slots=True)
class FleetState:
    """The state between two looks.

    Attributes:
        memories: Of each model.
        queue: Models that wait for GPUs, in the order in which they are served.
    """

    memories: Mapping[str, Memory] = field(default_factory=dict)
    queue: tuple[Claim, ...] = ()
