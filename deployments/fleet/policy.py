"""The fleet policy: one look at the cluster in, orders with their reasons out.

Pure: it has no clock, keeps nothing between looks and reads nothing but its arguments. What production runs
is therefore what the replay (``deployments.fleet.replay``) measures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from deployments.fleet.allocation import Allocation
from deployments.fleet.config import FleetConfig
from deployments.fleet.decision import Action, Decision
from deployments.fleet.memory import Memory, remember
from deployments.fleet.moment import Moment
from deployments.fleet.observation import UNKNOWN, Observation, Phase, Replica
from deployments.fleet.orders import Orders
from deployments.fleet.pool import Pool
from deployments.fleet.queue import Claim, Need, queued
from deployments.fleet.scale import waiting, wish
from deployments.fleet.state import FleetState
from deployments.fleet.view import View


class FleetPolicy:
    """Decides which models run, on how many GPUs.

    Args:
        config: Models and rules.
    """

    def __init__(self, config: FleetConfig) -> None:
        self._config = config

    def decide(self, state: FleetState, observation: Observation, now: float) -> tuple[FleetState, Decision]:
        """One decision.

        Args:
            state: What the last decision returned; ``FleetState()`` at first.
            observation: The cluster now.
            now: A clock that never goes back, seconds.

        Returns:
            The next state, and the orders.
        """
        moment = Moment(self._config, now)
        orders = Orders(now)
        views = self._views(state, observation, moment)
        known = {name: view for name, view in views.items() if view.load.in_hand is not None}
        pool = Pool(observation.nodes, observation.replicas)
        self._hold_ordered(views, pool, orders)
        allocation = Allocation(known, pool, observation.nodes, orders, moment)
        fresh = self._claims(known, allocation, orders, now)
        queue = queued(state.queue, fresh, views.keys() - known.keys(), self._config)
        waiting = allocation.serve(queue) if queue else []
        places = {claim.model: place for place, claim in enumerate(waiting, start=1)}
        statuses = {name: view.status(places.get(name), now) for name, view in views.items()}
        decision = orders.decision(statuses)
        return FleetState(_memories(views, decision, now), tuple(waiting)), decision

    def _views(self, state: FleetState, observation: Observation, moment: Moment) -> dict[str, View]:
        replicas: dict[str, list[Replica]] = defaultdict(list)
        for replica in observation.replicas:
            replicas[replica.model].append(replica)
        views = {}
        for model in self._config.by_id.values():
            load = observation.loads.get(model.id, UNKNOWN)
            memory = state.memories.get(model.id) or Memory.fresh(model, moment)
            memory = remember(memory, model, load, replicas[model.id], moment)
            views[model.id] = View.of(model, memory, load, replicas[model.id])
        return views

    @staticmethod
    def _hold_ordered(views: Mapping[str, View], pool: Pool, orders: Orders) -> None:
        """Replicas that are ordered but not placed yet hold their GPUs all the same.

        One that turns out to have no place is taken back: it would snatch the GPUs of whoever is next.
        """
        for view in views.values():
            for _ in range(view.unplaced):
                model = view.model
                place = pool.fit(model.footprint, model.accelerator)
                if place is not None:
                    pool.take(place, model.footprint)
                    continue
                view.size -= 1
                if view.size >= model.min_replicas and view.load.in_hand is not None:
                    orders.target(model.id, view.size, Action.WITHDRAW, "there is no place for it now")

    def _claims(
        self, views: Mapping[str, View], allocation: Allocation, orders: Orders, now: float
    ) -> dict[str, Claim]:
        """What models need; those that need less are told so at once."""
        claims = {}
        idle: list[tuple[View, str]] = []
        for name, view in views.items():
            if view.memory.backs_off(now):
                _back_off(view, orders, now)
                continue
            claim = self._asleep(view, orders, now) if view.asleep else self._awake(view, idle, orders, now)
            if claim is not None:
                claims[name] = claim
        allocation.unload_idle(idle)
        return claims

    def _asleep(self, view: View, orders: Orders, now: float) -> Claim | None:
        name = view.model.id
        if view.load.in_hand:
            return Claim(name, Need.FIRST, 1, now, f"{waiting(view.load.in_hand)} for it, and it sleeps")
        if view.memory.idle_s(now) >= self._config.warm_unload_s:
            words = f"nobody has asked for it for {self._config.warm_unload_s:g} s, and it sleeps"
            orders.target(name, 0, Action.UNLOAD, words)
        return None

    def _awake(self, view: View, idle: list[tuple[View, str]], orders: Orders, now: float) -> Claim | None:
        model = view.model
        wanted = wish(view, Moment(self._config, now))
        if wanted is None:
            return None
        if wanted.replicas > view.size:
            need = Need.FURTHER if view.size else Need.FIRST
            need = Need.MINIMUM if view.size < model.min_replicas else need
            return Claim(model.id, need, wanted.replicas, now, wanted.words)
        if wanted.replicas == 0:
            idle.append((view, wanted.words))
        else:
            orders.target(model.id, wanted.replicas, Action.SHRINK, wanted.words)
        return None


def _back_off(view: View, orders: Orders, now: float) -> None:
    """A failed start is not repeated at once: its GPUs serve others meanwhile."""
    running = max(view.model.min_replicas, view.count(Phase.RUNNING) + view.count(Phase.SLEEPING))
    if running < view.size and view.memory.retry_at is not None:
        wait_s = view.memory.retry_at - now
        words = f"it failed to start {view.memory.failures} times; tried again in {wait_s:.0f} s"
        orders.target(view.model.id, running, Action.BACK_OFF, words)


def _memories(views: Mapping[str, View], decision: Decision, now: float) -> dict[str, Memory]:
    memories = {name: view.memory for name, view in views.items()}
    for name in decision.wake:
        replica = views[name].asleep
        assert replica is not None
        memories[name] = memories[name].waking(replica.id, now)
    return memories
