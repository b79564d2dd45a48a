"""What the fleet policy has decided, as the board tells it: states, GPUs in use, engines that sleep."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping

from deployments.board import ModelStatus, Report
from deployments.fleet import Decision, FleetState, ModelState, Observation, Phase


def statuses(  # noqa: PLR0913  (what is known of the models, from whom it is known)
    decision: Decision,
    state: FleetState,
    observation: Observation,
    reports: Mapping[str, Report],
    *,
    failure: Callable[[str], str | None],
    now: float,
) -> dict[str, ModelStatus]:
    """Each model's state.

    Args:
        decision: Of the policy.
        state: What the policy remembers.
        observation: What it has seen.
        reports: What replicas have said of themselves, by their ids.
        failure: Why a model did not start last.
        now: The policy's clock, seconds.
    """
    told = {}
    for model, status in decision.statuses.items():
        mine = [replica for replica in observation.replicas if replica.model == model]
        memory = state.memories[model]
        begun = min((since for _, since, _ in memory.starting), default=None)
        loading = status.state is ModelState.LOADING and begun is not None
        progress = (reports[one.id].progress for one in mine if one.id in reports)
        told[model] = ModelStatus(
            state=status.state,
            replicas=sum(replica.phase is Phase.RUNNING for replica in mine),
            load_s=memory.load_s,
            loading_since=time.time() - (now - begun) if loading and begun is not None else None,
            ready_in_s=status.ready_in_s,
            place_in_queue=status.place_in_queue,
            retry_in_s=status.retry_in_s,
            error=failure(model) if memory.failures else None,
            progress=next(filter(None, progress), None) if loading else None,
        )
    return told


def usage(observation: Observation) -> dict[str, tuple[float, float]]:
    """GPUs that replicas hold, and all that there are for them, by accelerator type."""
    kinds = {node.id: node.accelerator for node in observation.nodes}
    total: dict[str, int] = defaultdict(int)
    held: dict[str, float] = defaultdict(float)
    for node in observation.nodes:
        total[node.accelerator] += node.gpus
    for replica in observation.replicas:
        if replica.node in kinds:
            held[kinds[replica.node]] += replica.footprint.total
    return {kind: (held[kind], float(gpus)) for kind, gpus in total.items()}


def sleepers(before: frozenset[str], decision: Decision, observation: Observation) -> frozenset[str]:
    """The replicas whose engines shall sleep, as of now."""
    here = {replica.id: replica.model for replica in observation.replicas}
    told = {replica for replica, model in here.items() if model in decision.sleep}
    return frozenset(
        replica for replica in before | told if replica in here and here[replica] not in decision.wake
    )
