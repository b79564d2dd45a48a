"""The fair queue of models that need GPUs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

from deployments.fleet.config import FleetConfig


class Need(IntEnum):
    """What a model needs GPUs for, the more urgent first."""

    MINIMUM = 0
    """A pinned model has fewer replicas than it must have."""
    FIRST = 1
    """Requests wait for a model of which no replica runs."""
    FURTHER = 2
    """A model runs, and needs more replicas."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A model's place in the queue.

    Attributes:
        model: Whose it is.
        need: What for.
        replicas: How many it is to have in all.
        since: When it joined, the clock's seconds.
        words: Why.
    """

    model: str
    need: Need
    replicas: int
    since: float
    words: str

    def waited_s(self, now: float) -> float:
        """For how long it has been in the queue."""
        return now - self.since


def queued(
    waiting: Iterable[Claim], fresh: Mapping[str, Claim], held: Iterable[str], config: FleetConfig
) -> list[Claim]:
    """The queue now, in the order in which it is served.

    Pinned models come first. The rest come in the order of arrival, except that a further replica counts as
    come ``growth_delay_s`` later: it passes nobody for whom nothing runs, but is not passed for ever either.

    Args:
        waiting: The queue at the last look.
        fresh: What models need now; one that waits already keeps its time.
        held: Models of which nothing is known now: they keep their place.
        config: The rules' figures.
    """
    known = set(held)
    before = {claim.model: claim for claim in waiting}
    claims = [claim for claim in before.values() if claim.model in known]
    for model, claim in fresh.items():
        old = before.get(model, claim)
        claims.append(replace(claim, since=old.since) if old.need is claim.need else claim)
    return sorted(claims, key=lambda claim: _rank(claim, config))


def _rank(claim: Claim, config: FleetConfig) -> tuple[bool, float, str]:
    delay_s = config.growth_delay_s if claim.need is Need.FURTHER else 0.0
    return claim.need is not Need.MINIMUM, claim.since + delay_s, claim.model
