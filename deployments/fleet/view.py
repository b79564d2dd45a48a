"""One model at one look: what is configured, remembered and seen of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deployments.fleet.config import FleetModel
from deployments.fleet.decision import ModelState, Status
from deployments.fleet.memory import Memory
from deployments.fleet.moment import Moment
from deployments.fleet.observation import Load, Phase, Replica


@dataclass(slots=True)
class View:
    """A model now.

    Attributes:
        model: Its configuration.
        memory: With this look.
        load: This look.
        alive: Its replicas that do not stop.
        size: Replicas that it has or that are ordered.
    """

    model: FleetModel
    memory: Memory
    load: Load
    alive: Sequence[Replica]
    size: int

    @classmethod
    def of(cls, model: FleetModel, memory: Memory, load: Load, replicas: Sequence[Replica]) -> View:
        """Put together. The cluster's target counts, where it is known: it runs ahead of the replicas."""
        alive = [replica for replica in replicas if replica.phase is not Phase.STOPPING]
        return cls(model, memory, load, alive, len(alive) if load.target is None else load.target)

    def count(self, phase: Phase) -> int:
        """Replicas in a phase."""
        return sum(replica.phase is phase for replica in self.alive)

    @property
    def unplaced(self) -> int:
        """Replicas that are ordered and hold nothing yet."""
        return max(0, self.size - sum(replica.node is not None for replica in self.alive))

    @property
    def asleep(self) -> Replica | None:
        """Its one replica, if that sleeps and has not been told to wake."""
        if len(self.alive) != 1 or self.alive[0].phase is not Phase.SLEEPING:
            return None
        only = self.alive[0]
        return None if any(name == only.id for name, _, _ in self.memory.starting) else only

    def evictable(self, moment: Moment, waited_s: float = 0.0) -> bool:
        """Whether it may give way: idle, not pinned, here for long enough, and nothing of it unknown.

        Args:
            moment: The clock and the rules.
            waited_s: For how long the other has waited. At first a pause in a conversation counts as use, and
                the less so the longer the wait; one with a request in hand never gives way.
        """
        now, rules = moment.now, moment.rules
        quiet_s = rules.quiet_s * max(0.0, 1 - waited_s / rules.patience_s)
        return (
            not self.model.pinned
            and self.size > 0
            and self.load.in_hand == 0
            and self.memory.idle_s(now) >= quiet_s
            and all(replica.phase in (Phase.RUNNING, Phase.SLEEPING) for replica in self.alive)
            and not self.memory.starting
            and (self.asleep is not None or self.memory.resident(now, rules.min_residency_s))
        )

    def status(self, place_in_queue: int | None, now: float) -> Status:
        """What clients are told."""
        memory = self.memory
        if self.count(Phase.RUNNING):
            return Status(ModelState.HOT)
        if memory.backs_off(now) and memory.retry_at is not None:
            return Status(ModelState.FAILED, memory.load_s, place_in_queue, memory.retry_at - now)
        if self.asleep:
            return Status(ModelState.WARM, memory.wake_s, place_in_queue)
        since = min((at for _, at, _ in memory.starting), default=now)
        wakes = any(wakes for _, _, wakes in memory.starting)
        left_s = max(0.0, (memory.wake_s if wakes else memory.load_s) - (now - since))
        state = ModelState.LOADING if self.size or self.alive else ModelState.COLD
        return Status(state, left_s, place_in_queue)
