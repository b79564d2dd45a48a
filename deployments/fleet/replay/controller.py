"""What decides in a replay: the fleet policy of production, or a baseline."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from deployments.fleet.config import FleetConfig, FleetModel
from deployments.fleet.decision import Decision
from deployments.fleet.observation import Observation, Phase
from deployments.fleet.policy import FleetPolicy
from deployments.fleet.state import FleetState

UPSCALE_DELAY_S = 30.0
DOWNSCALE_DELAY_S = 600.0
SERVE_LOOK_BACK_S = 30.0
"""``ray.serve.config.AutoscalingConfig``'s defaults in Ray 2.60."""

KEDA_POLL_S = 15.0
KEDA_COOLDOWN_S = 360.0
"""The vLLM production stack's KEDA example."""

HPA_STABILIZATION_S = 300.0
"""Kubernetes' default ``scaleDown.stabilizationWindowSeconds``; KEDA leaves it above one replica."""


class Controller(Protocol):
    """Looks at the cluster once a second."""

    def decide(self, observation: Observation, now: float) -> Decision:
        """Orders for the cluster."""
        ...


class Fleet:
    """The policy that production runs, with its state.

    Args:
        config: Models and rules.
    """

    def __init__(self, config: FleetConfig) -> None:
        self._policy = FleetPolicy(config)
        self._state = FleetState()

    def decide(self, observation: Observation, now: float) -> Decision:
        """See ``Controller``."""
        self._state, decision = self._policy.decide(self._state, observation, now)
        return decision


class PerModel:
    """A baseline that decides for each model by itself, as a deployment's own autoscaler does.

    Args:
        scalers: For each model, from requests in hand, running replicas, target and clock to the new target.
    """

    def __init__(self, scalers: Mapping[str, Callable[[float, int, int, float], int]]) -> None:
        self._scalers = scalers

    def decide(self, observation: Observation, now: float) -> Decision:
        """See ``Controller``."""
        running = dict.fromkeys(self._scalers, 0)
        for replica in observation.replicas:
            running[replica.model] += replica.phase is Phase.RUNNING
        targets = {}
        for name, scaler in self._scalers.items():
            load = observation.loads[name]
            if load.in_hand is None or load.target is None:
                continue
            wanted = scaler(load.in_hand, running[name], load.target, now)
            if wanted != load.target:
                targets[name] = wanted
        return Decision(targets, (), (), {}, ())


@dataclass(slots=True)
class ServeDefault:
    """Ray Serve's ``default_autoscaling_policy``, by its formula in Ray 2.60.

    Desired replicas are the requests in hand, a mean over the look-back, over the target of each. More come
    once that has held for 30 s, fewer once it has held for 600 s; from zero the first comes at once, and that
    is kinder than Serve's own look every ten seconds. ``min_replicas`` is 1 for pinned models, 0 for the
    rest: with 1 for all, ten models would need all their GPUs all day.
    """

    model: FleetModel
    samples: deque[float] = field(default_factory=lambda: deque(maxlen=int(SERVE_LOOK_BACK_S)))
    up_since: float | None = None
    down_since: float | None = None

    def __call__(self, in_hand: float, running: int, target: int, now: float) -> int:
        """The new target."""
        self.samples.append(in_hand)
        mean = sum(self.samples) / len(self.samples)
        if running == 0:
            self.up_since = self.down_since = None
            return max(target, self.model.min_replicas, 1 if mean > 0 else 0)
        wanted = math.ceil(mean / self.model.target_ongoing_requests)
        wanted = min(self.model.max_replicas, max(self.model.min_replicas, wanted))
        if target > 1:
            wanted = max(1, wanted)
        self.up_since = _held(wanted > target, self.up_since, now)
        self.down_since = _held(wanted < target, self.down_since, now)
        up = self.up_since is not None and now - self.up_since >= UPSCALE_DELAY_S
        down = self.down_since is not None and now - self.down_since >= DOWNSCALE_DELAY_S
        if up or down:
            self.up_since = self.down_since = None
            return wanted
        return target


@dataclass(slots=True)
class Keda:
    """A KEDA rule: polls every 15 s; to zero after 360 s without a request.

    Above one replica it is Kubernetes' autoscaler: requests in hand over the target, fewer only when the most
    that was wanted in 300 s allows it.
    """

    model: FleetModel
    wanted: deque[tuple[float, int]] = field(default_factory=deque)
    active_at: float = 0.0

    def __call__(self, in_hand: float, running: int, target: int, now: float) -> int:  # noqa: ARG002
        """The new target."""
        if now % KEDA_POLL_S:
            return target
        if in_hand:
            self.active_at = now
        raw = math.ceil(in_hand / self.model.target_ongoing_requests)
        self.wanted.append((now, min(self.model.max_replicas, max(1, raw))))
        while now - self.wanted[0][0] > HPA_STABILIZATION_S:
            self.wanted.popleft()
        if not self.model.min_replicas and now - self.active_at >= KEDA_COOLDOWN_S:
            return 0
        if target == 0 and not in_hand and not self.model.min_replicas:
            return 0
        latest = self.wanted[-1][1]
        return latest if latest >= target else max(count for _, count in self.wanted)


def dedicated(model: FleetModel) -> Callable[[float, int, int, float], int]:
    """Its least replicas, always."""
    return lambda in_hand, running, target, now: model.min_replicas  # noqa: ARG005


def _held(condition: bool, since: float | None, now: float) -> float | None:
    if not condition:
        return None
    return now if since is None else since
