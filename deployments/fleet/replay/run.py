"""One policy over one trace."""

from __future__ import annotations

from deployments.fleet.config import FleetConfig
from deployments.fleet.replay.cluster import Cluster
from deployments.fleet.replay.controller import Controller, Fleet, Keda, PerModel, ServeDefault, dedicated
from deployments.fleet.replay.outcome import Outcome, judge
from deployments.fleet.replay.scenario import Scenario
from deployments.fleet.replay.trace import Trace, flat, fresh

POLICIES = ("fleet", "serve-default", "keda", "dedicated")
"""Their names."""

OBJECTIVE_S = 2.0
"""First token after so long at most: what people take for an answer at once."""

_DRAIN_S = 7200.0


def replay(
    policy: str,
    scenario: Scenario,
    trace: Trace,
    objective_s: float = OBJECTIVE_S,
    seed: int = 1,
) -> Outcome:
    """Replay a trace; the trace itself stays as it is.

    Args:
        policy: One of ``POLICIES``.
        scenario: The cluster; for ``dedicated`` it gets as many GPUs as that needs.
        trace: What is asked.
        objective_s: A first token is in time up to so long after the request.
        seed: Of the load times.
    """
    run_on = scenario.dedicated() if policy == "dedicated" else scenario
    sessions = fresh(trace)
    until_s = max((one.at for one in sessions), default=0.0)
    cluster = Cluster(run_on, _controller(policy, run_on), until_s, seed)
    cluster.run(sessions, _DRAIN_S)
    return judge(policy, scenario, list(flat(sessions)), cluster.meter, objective_s)


def _controller(policy: str, scenario: Scenario) -> Controller:
    models = [one.fleet for one in scenario.models]
    if policy == "fleet":
        return Fleet(FleetConfig(models=tuple(models)))
    if policy == "serve-default":
        return PerModel({model.id: ServeDefault(model) for model in models})
    if policy == "keda":
        return PerModel({model.id: Keda(model) for model in models})
    return PerModel({model.id: dedicated(model) for model in models})
