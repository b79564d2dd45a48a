"""What the fleet policy carries from one look to the next. Lost in a restart, it is learned anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from deployments.fleet.config import FleetConfig
from deployments.fleet.memory import Memory
from deployments.fleet.moment import Moment
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

    def learned(self, config: FleetConfig, load_s: Mapping[str, float], now: float) -> FleetState:
        """With load times that were learned elsewhere, of the models of which it knows nothing itself.

        Args:
            config: The models.
            load_s: By model, seconds.
            now: The clock, seconds.
        """
        fresh = {
            model.id: replace(Memory.fresh(model, Moment(config, now)), load_s=load_s[model.id], loads=1)
            for model in config.models
            if model.id in load_s
        }
        return replace(self, memories={**fresh, **self.memories})
