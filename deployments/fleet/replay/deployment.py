"""A model's replicas in virtual time, and the requests that wait for one or are with one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from deployments.fleet.observation import NOTHING, Footprint, Load, Phase, Replica
from deployments.fleet.pool import Place
from deployments.fleet.replay.engine import Engine
from deployments.fleet.replay.scenario import SimulatedModel
from deployments.fleet.replay.timeline import Timeline
from deployments.fleet.replay.trace import Request

PATIENCE_S = 600.0
"""A client gives up after so long at the ingress, with its session: the ``openai`` client's timeout."""


@dataclass(slots=True, eq=False)
class SimulatedReplica:
    """A replica of the simulation.

    Attributes:
        id: Unique.
        model: Whose it is.
        engine: Its engine.
        phase: Where it is in its life.
        place: Its GPUs; None while it waits for some.
        footprint: What it holds there.
        version: Of its engine; events for an older one are void.
    """

    id: str
    model: str
    engine: Engine
    phase: Phase = Phase.STARTING
    place: Place | None = None
    footprint: Footprint = NOTHING
    version: int = 0

    def seen(self) -> Replica:
        """As the controller sees it."""
        node = self.place.node if self.place else None
        devices = self.place.devices if self.place and self.footprint.gpus else ()
        return Replica(self.id, self.model, self.phase, self.footprint, node, devices)


class Deployment:
    """One model's.

    Attributes:
        model: Which.
        replicas: Those that stop included.
        target: How many the controller wants.
        sessions: Sessions that have begun and not ended.

    Args:
        model: Which.
        timeline: Where its events go.
        drained: Told of a stopping replica whose last request has ended.
    """

    def __init__(
        self,
        model: SimulatedModel,
        timeline: Timeline,
        drained: Callable[[Deployment, SimulatedReplica, float], None],
    ) -> None:
        self.model = model
        self.replicas: list[SimulatedReplica] = []
        self.target = 0
        self.sessions = 0
        self._timeline = timeline
        self._drained = drained
        self._queue: deque[Request] = deque()
        self._requests_total = 0

    def alive(self) -> list[SimulatedReplica]:
        """Replicas that do not stop."""
        return [replica for replica in self.replicas if replica.phase is not Phase.STOPPING]

    def load(self) -> Load:
        """As the controller sees it."""
        engines = [replica.engine for replica in self.replicas if replica.phase is Phase.RUNNING]
        usage = None
        if engines and self.model.kind.generates:
            usage = sum(engine.kv_cache_usage for engine in engines) / len(engines)
        ongoing = sum(engine.ongoing for engine in engines)
        return Load(self.target, ongoing, len(self._queue), usage, self._requests_total, 0)

    def begin(self, request: Request) -> None:
        """A session's first request comes."""
        self.sessions += 1
        self._arrive(request)

    def _arrive(self, request: Request) -> None:
        self._requests_total += 1
        self._queue.append(request)
        self.route(request.at)
        if request.routed_at is None:
            self._timeline.put(request.at + PATIENCE_S, lambda _: self._give_up(request))

    def _give_up(self, request: Request) -> None:
        if request.routed_at is None:
            self._queue.remove(request)
            self.sessions -= 1

    def route(self, now: float) -> None:
        """Give waiting requests to the replica with the fewest, while any takes more."""
        while self._queue:
            able = [replica for replica in self.replicas if replica.phase is Phase.RUNNING]
            least = min(able, key=lambda replica: replica.engine.ongoing, default=None)
            if least is None or least.engine.ongoing >= self.model.max_ongoing_requests:
                return
            request = self._queue.popleft()
            request.routed_at = now
            least.engine.submit(request, now)
            self._expect_end(least)

    def _expect_end(self, replica: SimulatedReplica) -> None:
        replica.version += 1
        at = replica.engine.next_end()
        if at is not None:
            version = replica.version
            self._timeline.put(at, lambda now: self._end(replica, version, now))

    def _end(self, replica: SimulatedReplica, version: int, now: float) -> None:
        if version != replica.version:
            return
        for request in replica.engine.end(now):
            self._follow(request, now)
        self._expect_end(replica)
        if replica.phase is Phase.STOPPING and not replica.engine.ongoing:
            self._drained(self, replica, now)
        self.route(now)

    def _follow(self, request: Request, now: float) -> None:
        following = request.then
        if following is None:
            self.sessions -= 1
            return
        following.at = now + following.pause_s
        self._timeline.put(following.at, lambda _: self._arrive(following))
