"""The fleet policy inside Serve's controller: `autoscaling_policy` of the application in the Serve file.

Serve calls it ten times a second with what it knows of each deployment. It must never raise and never wait:
an exception would stop the controller's loop for all applications (docs/decisions/0015).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Final

from ray.actor import ActorHandle
from ray.serve._private.common import DeploymentID
from ray.serve.autoscaling_policy import default_autoscaling_policy
from ray.serve.config import AutoscalingContext

from deployments import board as boards
from deployments.board import Board, ModelStatus, News, Verdict
from deployments.fleet import FleetConfig, FleetPolicy, FleetState, Journal, Phase, Reason
from deployments.gpus import RayGpus
from deployments.growth import Growth
from deployments.naming import deployment_name, is_model
from deployments.sighting import Gpus, Sighting
from deployments.verdict import sleepers, statuses, usage

logger = logging.getLogger("ray.serve")

_INTERVAL_S: Final = 0.5
_RETRY_S: Final = 5.0
"""After a failure of its own it leaves the cluster as it is for so long."""


class FleetAutoscaler:
    """Decides for all models of an application at once. Serve makes one with each configuration it is handed.

    Args:
        find: The board of an application.
        gpus: Tells of machines and GPUs; default: Ray.
        growth: Asks for machines; default: Ray's autoscaler.
        clock: Never goes back, seconds.
    """

    def __init__(
        self,
        find: Callable[[str], Any] = boards.find,
        gpus: Gpus | None = None,
        growth: Growth | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = find
        self._gpus = gpus or RayGpus()
        self._growth = growth or Growth()
        self._clock = clock
        self._next_at = 0.0
        self._board: ActorHandle[Board] | None = None
        self._asked: Future[News] | None = None
        self._news: News | None = None
        self._sighting: Sighting | None = None
        self._policy: FleetPolicy | None = None
        self._config: FleetConfig | None = None
        self._state = FleetState()
        self._journal = Journal(1000)
        self._sleepers: frozenset[str] | None = None
        self._unsent: list[Reason] = []

    def __call__(
        self, contexts: Mapping[DeploymentID, AutoscalingContext]
    ) -> tuple[dict[DeploymentID, int], None]:
        """The deployments whose number of replicas changes; a deployment that is not named stays as it is."""
        now = self._clock()
        if now < self._next_at or not contexts:
            return {}, None
        self._next_at = now + _INTERVAL_S
        models = {one: context for one, context in contexts.items() if is_model(one.name)}
        others = (context for one, context in contexts.items() if one not in models)
        try:
            # An application has one policy for all of its deployments: the rest scales as it would without.
            by_queue = {one.deployment_id: math.ceil(default_autoscaling_policy(one)[0]) for one in others}
            return {**by_queue, **(self._decide(models, now) if models else {})}, None
        except Exception:
            logger.exception("The fleet policy failed; nothing is scaled for %g s", _RETRY_S)
            self._next_at, self._asked, self._board = now + _RETRY_S, None, None
            return {}, None

    def _decide(
        self, contexts: Mapping[DeploymentID, AutoscalingContext], now: float
    ) -> dict[DeploymentID, int]:
        application = next(iter(contexts)).app_name
        news = self._read(application)
        if news is None or news.config is None:
            return {}
        if self._policy is None or self._sighting is None or news.config != self._config:
            self._configure(application, news.config, news, now)
            return self._decide(contexts, now)
        observation = self._sighting.look(contexts.values(), news.config, news.reports)
        self._state, decision = self._policy.decide(self._state, observation, now)
        for reason in self._journal.record(decision.reasons):
            logger.info("Fleet: %s: %s: %s", reason.model, reason.action.value, reason.words)
        self._unsent += decision.reasons
        self._growth.ask(decision.shortages, self._gpus.machines)
        if self._sleepers is None:  # an earlier controller may have sent some to sleep
            self._sleepers = frozenset(one.id for one in observation.replicas if one.phase is Phase.SLEEPING)
        self._sleepers = sleepers(self._sleepers, decision, observation)
        told = statuses(
            decision,
            self._state,
            observation,
            news.reports,
            failure=self._sighting.failure,
            now=now,
        )
        self._tell(told, usage(observation))
        ids = {identity.name: identity for identity in contexts}
        return {
            identity: target
            for model, target in decision.targets.items()
            if (identity := ids.get(deployment_name(model))) is not None
        }

    def _configure(self, application: str, config: FleetConfig, news: News, now: float) -> None:
        """Take the models and rules; what was learned stays, across controllers too."""
        self._sighting = self._sighting or Sighting(application, self._gpus)
        self._policy, self._config = FleetPolicy(config), config
        learned = {name: status.load_s for name, status in news.statuses.items() if status.load_s}
        self._state = self._state.learned(config, learned, now)

    def _read(self, application: str) -> News | None:
        """The board's latest answer. It is asked without waiting; the answer is there at the next look."""
        if self._board is None:
            self._board = self._find(application)
        if self._asked is not None and self._asked.done():
            self._news, self._asked = self._asked.result(), None
        if self._asked is None and (self._news is None or self._news.config is None):
            self._asked = self._board.news.remote().future()
        return self._news

    def _tell(self, told: Mapping[str, ModelStatus], gpus: Mapping[str, tuple[float, float]]) -> None:
        if self._board is None or self._asked is not None:
            return  # it has yet to answer; the reasons wait
        # Reasons carry the policy's clock, which is this process's; people read another.
        offset = time.time() - self._clock()
        reasons = tuple(replace(reason, at=reason.at + offset) for reason in self._unsent)
        verdict = Verdict(told, gpus, reasons, self._sleepers or frozenset(), time.time())
        self._asked = self._board.publish.remote(verdict).future()
        self._unsent = []
