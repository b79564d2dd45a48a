"""What a replay says: GPU hours, first tokens in time, cold starts, waits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deployments.config import ModelKind
from deployments.fleet.decision import Action
from deployments.fleet.replay.deployment import PATIENCE_S
from deployments.fleet.replay.meter import Meter
from deployments.fleet.replay.scenario import Scenario
from deployments.fleet.replay.trace import Request


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one policy.

    Attributes:
        policy: Its name.
        requests: How many were asked.
        gpu_hours: Of whole GPUs, counted while anything holds a part.
        share_hours: Of GPUs, fractions counted as such.
        met_all: Share of all requests whose first token came in time.
        met_hot: Of those to pinned models.
        met_by_kind: Of those to models of each kind.
        met_worst: Of those to the model that fares worst.
        unserved: Requests of clients who gave up, those that they did not get to ask any more included. They
            count as not in time.
        cold_starts: Loads of a model of which nothing ran.
        loads: Replicas loaded.
        evictions: Models that gave way to others; None for a policy that evicts nothing.
        wait_p99_s: Of the time at the ingress, before a replica takes a request.
        wait_max_s: The longest; an unserved request counts with its client's patience.
        usage: GPUs in use: steps of (seconds, GPUs).
    """

    policy: str
    requests: int
    gpu_hours: float
    share_hours: float
    met_all: float
    met_hot: float
    met_by_kind: dict[ModelKind, float]
    met_worst: float
    unserved: int
    cold_starts: int
    loads: int
    evictions: int | None
    wait_p99_s: float
    wait_max_s: float
    usage: Sequence[tuple[float, int]]


def judge(
    policy: str, scenario: Scenario, requests: Sequence[Request], meter: Meter, objective_s: float
) -> Outcome:
    """What became of the requests.

    Args:
        policy: Its name.
        scenario: The cluster, for which models are hot, and their kinds.
        requests: As the replay left them.
        meter: The costs.
        objective_s: A first token is in time up to so long after the request.
    """
    hot = {one.fleet.id for one in scenario.models if one.fleet.pinned}
    kinds = {one.fleet.id: one.kind for one in scenario.models}
    waits = sorted(PATIENCE_S if one.routed_at is None else one.routed_at - one.at for one in requests)
    evicts = policy == "fleet"
    return Outcome(
        policy,
        len(requests),
        meter.gpu_hours,
        meter.share_hours,
        _met(requests, objective_s),
        _met((one for one in requests if one.model in hot), objective_s),
        {kind: _met((r for r in requests if kinds[r.model] is kind), objective_s) for kind in ModelKind},
        min(_met((r for r in requests if r.model == name), objective_s) for name in kinds),
        sum(one.first_token_at is None for one in requests),
        meter.cold_starts,
        meter.loads,
        meter.actions[Action.EVICT] + meter.actions[Action.SLEEP] if evicts else None,
        waits[int(0.99 * (len(waits) - 1))] if waits else 0.0,
        waits[-1] if waits else 0.0,
        meter.usage,
    )


def _met(requests: Iterable[Request], objective_s: float) -> float:
    late = [one.first_token_at is None or one.first_token_at - one.at > objective_s for one in requests]
    return 1 - sum(late) / len(late) if late else 1.0
