"""GPUs for the models in the queue: what is free, what idle models give up, what is kept for the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from deployments.fleet.config import CPU, FleetModel
from deployments.fleet.decision import Action, Shortage
from deployments.fleet.eviction import Victim, cheapest, cost_of_absence
from deployments.fleet.moment import Moment
from deployments.fleet.observation import Node, Phase
from deployments.fleet.orders import Orders
from deployments.fleet.pool import Pool
from deployments.fleet.queue import Claim, Need
from deployments.fleet.view import View


class Allocation:
    """One round of giving out GPUs.

    Args:
        views: The models of which enough is known.
        pool: The GPUs; what is given out is taken from it.
        nodes: The machines, for the host memory of models that sleep.
        orders: Where orders and reasons go.
        moment: The clock and the rules.
    """

    def __init__(
        self,
        views: Mapping[str, View],
        pool: Pool,
        nodes: Iterable[Node],
        orders: Orders,
        moment: Moment,
    ) -> None:
        self._views = views
        self._pool = pool
        self._orders = orders
        self._moment = moment
        self._nodes = tuple(nodes)
        self._host_memory = {node.id: node.host_memory_bytes for node in self._nodes}
        for view in views.values():
            for replica in view.alive:
                if replica.phase is Phase.SLEEPING and replica.node in self._host_memory:
                    self._host_memory[replica.node] -= view.model.sleep_bytes or 0

    def serve(self, queue: Iterable[Claim]) -> list[Claim]:
        """Give GPUs to the claims in their order.

        Returns:
            Those that still wait.
        """
        claims = list(queue)
        asking = {claim.model for claim in claims}
        return [claim for claim in claims if not self._granted(claim, asking)]

    def unload_idle(self, idle: Sequence[tuple[View, str]]) -> None:
        """Let idle models go that free a GPU by it, and those that are idle for ``idle_unload_s``.

        One that shares its GPUs with models that stay costs nothing: it stays so long, unless its room is
        needed.

        Args:
            idle: Models that have been idle for long enough, with the words for that.
        """
        gone = {replica.id for view, _ in idle for replica in view.alive}
        for view, words in idle:
            overdue = view.memory.idle_s(self._moment.now) >= self._moment.rules.idle_unload_s
            if overdue or self._pool.frees([replica.id for replica in view.alive], gone):
                self._unload(view, Action.UNLOAD, words)

    def _unload(self, view: View, action: Action, words: str) -> None:
        """Let a model go: to sleep where it can and that is enough, away otherwise."""
        name = view.model.id
        node = self._bed(view, action)
        if node is None:
            self._orders.target(name, 0, action, words)
        else:
            self._host_memory[node] -= view.model.sleep_bytes or 0
            self._orders.sleep(name, words)

    def _bed(self, view: View, action: Action) -> str | None:
        """The node in whose memory it can sleep; None: it cannot, or its GPUs are needed and it kept them."""
        if view.model.sleep_bytes is None or view.size != 1 or view.count(Phase.RUNNING) != 1:
            return None
        if action is Action.EVICT and not self._moment.rules.sleep_frees_gpus:
            return None
        node = view.alive[0].node
        fits = node is not None and self._host_memory.get(node, 0) >= view.model.sleep_bytes
        return node if fits else None

    def _granted(self, claim: Claim, asking: set[str]) -> bool:
        view = self._views.get(claim.model)
        if view is None:  # nothing is known of it now: it keeps its place
            return False
        if view.asleep is not None:
            return self._woken(claim, view, asking)
        model, size = view.model, view.size
        while size < claim.replicas:
            place = self._pool.fit(model.footprint, model.accelerator)
            if place is None:
                break
            self._pool.take(place, model.footprint)
            size += 1
        if size > view.size:
            action = Action.GROW if claim.need is Need.FURTHER else Action.LOAD
            self._orders.target(model.id, size, action, claim.words)
        if size < claim.replicas:
            self._make_room(claim, view, asking, None)
        return size >= claim.replicas

    def _woken(self, claim: Claim, view: View, asking: set[str]) -> bool:
        replica, model = view.asleep, view.model
        assert replica is not None
        if replica.footprint.gpus < model.footprint.gpus:  # it has given its GPUs back
            place = self._pool.fit(model.footprint, model.accelerator, replica.node)
            if place is None:
                self._make_room(claim, view, asking, replica.node)
                return False
            self._pool.take(place, model.footprint)
        self._orders.wake(model.id, claim.words)
        return True

    def _make_room(self, claim: Claim, view: View, asking: set[str], only: str | None) -> None:
        model, footprint = view.model, view.model.footprint
        nodes = self._pool.candidates(model.accelerator, only)
        for node in nodes:
            place = self._pool.fit_after(footprint, node)
            if place is not None:
                self._pool.take(place, footprint)
                self._wait(claim, f"{node} is about to have room")
                return
        found = cheapest(
            self._pool, nodes, footprint, self._victims(asking, claim.waited_s(self._moment.now))
        )
        if found is None:
            self._blocked(claim, view, nodes)
            return
        node, victims = found
        for victim in victims:
            self._evict(victim, model.id)
        place = self._pool.fit_after(footprint, node)
        assert place is not None
        self._pool.take(place, footprint)
        self._wait(claim, f"room is made on {_short(node)} by {_listed(victims)}")

    def _victims(self, asking: set[str], waited_s: float) -> list[Victim]:
        victims = []
        for name, view in self._views.items():
            if name in asking or self._orders.concern(name) or not view.evictable(self._moment, waited_s):
                continue
            sleeps = self._bed(view, Action.EVICT) is not None
            reload_s = view.memory.wake_s if sleeps else view.memory.load_s
            cost = cost_of_absence(view.memory, reload_s, self._moment.now)
            victims.append(Victim(name, tuple(replica.id for replica in view.alive), cost))
        return victims

    def _evict(self, victim: Victim, claimant: str) -> None:
        view = self._views[victim.model]
        idle_s = view.memory.idle_s(self._moment.now)
        self._unload(
            view,
            Action.EVICT,
            f"{claimant} waits; this one is idle for {idle_s:.0f} s and costs the least to be without "
            f"({victim.cost:.2f} s of waiting per second)",
        )
        for replica in victim.replicas:
            self._pool.stop(replica)

    def _blocked(self, claim: Claim, view: View, nodes: list[str]) -> None:
        """Nobody can give way. One that has waited for long keeps what there is, so that it is not passed."""
        footprint = view.model.footprint
        self._lack(claim, view)
        possible = [node for node in nodes if self._lasting.fit(footprint, view.model.accelerator, node)]
        if not possible:
            self._wait(claim, f"no node has {_needs(view.model)} beside what is pinned there")
        elif claim.waited_s(self._moment.now) < self._moment.rules.reserve_after_s:
            self._wait(claim, "all models that could give way are busy, pinned or have just come")
        else:
            node = max(possible, key=lambda one: (self._pool.vacant(one), one))
            self._pool.keep(footprint, node, self._lasting)
            self._wait(claim, f"what becomes free on {node} is kept for it")

    def _lack(self, claim: Claim, view: View) -> None:
        """Ask for machines, where another one would help: a replica that sleeps wakes where it is."""
        model, waited_s = view.model, claim.waited_s(self._moment.now)
        if model.accelerator in (None, CPU) or view.asleep is not None:
            return
        if waited_s >= self._moment.rules.machines_after_s:
            missing = claim.replicas - self._orders.aimed(model.id, view.size)
            self._orders.lack(Shortage(model.accelerator, model.footprint), missing)

    @cached_property
    def _lasting(self) -> Pool:
        """The nodes with what always runs only: pinned models, with their least replicas."""
        always = [view.alive[: view.model.min_replicas] for view in self._views.values()]
        return Pool(self._nodes, [replica for alive in always for replica in alive])

    def _wait(self, claim: Claim, words: str) -> None:
        self._orders.explain(claim.model, Action.WAIT, f"it waits for room: {words}")


def _needs(model: FleetModel) -> str:
    if model.accelerator == CPU:
        return "a slot for an engine on the CPU"
    size = f"{model.footprint.gpus} GPUs" if model.footprint.gpus > 1 else f"{model.gpus:g} GPU"
    return f"{size} of type {model.accelerator}"


def _short(node: str) -> str:
    """Enough of a node's id to know it by."""
    return node[:12]


def _listed(victims: list[Victim]) -> str:
    return " and ".join(victim.model for victim in victims)
