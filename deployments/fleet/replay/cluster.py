"""The cluster in virtual time: requests come, replicas load, serve and go, and a controller looks on.

Time is in seconds from the trace's start. The controller sees and orders what it would through Ray Serve:
targets per model. Which replica stops, and on which GPUs one starts, is the cluster's business.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count

from deployments.fleet.observation import NOTHING, Footprint, Observation, Phase, Replica
from deployments.fleet.pool import Place, Pool
from deployments.fleet.replay.controller import Controller
from deployments.fleet.replay.deployment import Deployment, SimulatedReplica
from deployments.fleet.replay.engine import Engine
from deployments.fleet.replay.meter import Meter
from deployments.fleet.replay.scenario import Scenario
from deployments.fleet.replay.timeline import Timeline
from deployments.fleet.replay.trace import Trace

TICK_S = 1.0
"""How often the controller looks; ``metrics_interval_s`` in production."""

_LOAD_SPREAD = 0.1
"""A load takes so much more or less than usual."""


class Cluster:
    """A cluster, empty at first.

    Args:
        scenario: Machines and models.
        controller: Decides.
        until_s: GPU hours are counted so far.
        seed: Of the load times.
    """

    def __init__(self, scenario: Scenario, controller: Controller, until_s: float, seed: int) -> None:
        self.meter = Meter(until_s)
        self._scenario = scenario
        self._until_s = until_s
        self._controller = controller
        self._rng = random.Random(seed)  # noqa: S311
        self._timeline = Timeline()
        self._deployments = {
            one.fleet.id: Deployment(one, self._timeline, self._leave) for one in scenario.models
        }
        self._numbers = count()
        self._unplaced: list[SimulatedReplica] = []

    def run(self, trace: Trace, drain_s: float) -> None:
        """Replay a trace; what becomes of each request is noted in it.

        Args:
            trace: Fresh.
            drain_s: Sessions that are open at the end may take so much longer.
        """
        index, tick = 0, 0.0
        while tick <= self._until_s + drain_s:
            begins_at = trace[index].at if index < len(trace) else float("inf")
            if tick <= min(self._timeline.next_at, begins_at):
                if tick >= self._until_s and index == len(trace) and not self._open():
                    break
                self._look(tick)
                tick += TICK_S
            elif begins_at <= self._timeline.next_at:
                self._deployments[trace[index].model].begin(trace[index])
                index += 1
            else:
                self._timeline.step()
        self.meter.close()

    def _open(self) -> bool:
        return any(one.sessions for one in self._deployments.values())

    def _look(self, now: float) -> None:
        loads = {name: one.load() for name, one in self._deployments.items()}
        seen = Observation(self._scenario.nodes, self._seen(), loads)
        decision = self._controller.decide(seen, now)
        self.meter.decided(decision, now)
        for name, target in decision.targets.items():
            self._scale(self._deployments[name], target, now)
        for name in decision.sleep:
            self._sleep(self._deployments[name], now)
        for name in decision.wake:
            self._wake(self._deployments[name], now)
        self._place(now)

    def _seen(self) -> tuple[Replica, ...]:
        return tuple(replica.seen() for one in self._deployments.values() for replica in one.replicas)

    def _scale(self, one: Deployment, target: int, now: float) -> None:
        one.target = target
        alive, name = one.alive(), one.model.fleet.id
        for _ in range(len(alive), target):
            replica = SimulatedReplica(f"{name}#{next(self._numbers)}", name, Engine(one.model.speed))
            one.replicas.append(replica)
            self._unplaced.append(replica)
        # As Serve does: first those that do not serve yet, then those with the least to do.
        alive.sort(key=lambda each: (each.phase is Phase.RUNNING, bool(each.place), each.engine.ongoing))
        for replica in alive[: max(0, len(alive) - target)]:
            self._stop(one, replica, now)

    def _place(self, now: float) -> None:
        """Replicas that wait get their GPUs, the oldest first, wherever they fit."""
        if not self._unplaced:
            return
        pool = Pool(self._scenario.nodes, self._seen())
        for replica in list(self._unplaced):
            one = self._deployments[replica.model]
            model = one.model.fleet
            place = pool.fit(model.footprint, model.accelerator)
            if place is None:
                continue
            pool.take(place, model.footprint)
            self._unplaced.remove(replica)
            self._hold(replica, place, model.footprint, now)
            self.meter.load(len(one.alive()) == 1)
            spread = self._rng.uniform(1 - _LOAD_SPREAD, 1 + _LOAD_SPREAD)
            self._timeline.put(now + one.model.load_s * spread, self._becomes_ready(one, replica))

    def _hold(self, replica: SimulatedReplica, place: Place | None, footprint: Footprint, now: float) -> None:
        """It holds this from now on, in place of what it held."""
        if replica.place is not None:
            self.meter.release(replica.place, replica.footprint, now)
        if place is not None:
            self.meter.hold(place, footprint, now)
        replica.place, replica.footprint = place, footprint

    @staticmethod
    def _becomes_ready(one: Deployment, replica: SimulatedReplica) -> Callable[[float], None]:
        def ready(now: float) -> None:
            if replica.phase in (Phase.STARTING, Phase.SLEEPING):
                replica.phase = Phase.RUNNING
                one.route(now)

        return ready

    def _stop(self, one: Deployment, replica: SimulatedReplica, now: float) -> None:
        replica.phase = Phase.STOPPING
        if replica in self._unplaced:
            self._unplaced.remove(replica)
            one.replicas.remove(replica)
        elif not replica.engine.ongoing:
            self._leave(one, replica, now)

    def _leave(self, one: Deployment, replica: SimulatedReplica, now: float) -> None:
        def gone(at: float) -> None:
            one.replicas.remove(replica)
            self._hold(replica, None, NOTHING, at)
            self._place(at)

        self._timeline.put(now + self._scenario.stop_s, gone)

    def _sleep(self, one: Deployment, now: float) -> None:
        (replica,) = one.alive()
        replica.phase = Phase.SLEEPING
        self._hold(replica, replica.place, NOTHING, now)

    def _wake(self, one: Deployment, now: float) -> None:
        (replica,) = one.alive()
        model = one.model.fleet
        assert replica.place is not None
        pool = Pool(self._scenario.nodes, self._seen())
        place = pool.fit(model.footprint, model.accelerator, replica.place.node)
        assert place is not None
        self._hold(replica, place, model.footprint, now)
        self._timeline.put(now + one.model.wake_s, self._becomes_ready(one, replica))
