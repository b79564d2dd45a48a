"""What a replay costs: GPU time, loads, evictions."""

from __future__ import annotations

from collections import Counter

from deployments.fleet.decision import Action, Decision
from deployments.fleet.observation import Footprint
from deployments.fleet.pool import Place

_HOUR_S = 3600.0


class Meter:
    """Counts while the replay runs.

    Args:
        until_s: What happens later is not counted.

    Attributes:
        loads: Replicas that were loaded.
        cold_starts: Of them, the first of a model.
        actions: Decisions by kind; a baseline gives no reasons, so it has none.
        usage: GPUs in use over time: a step for each change, (seconds, whole GPUs).
    """

    def __init__(self, until_s: float) -> None:
        self._until_s = until_s
        self.loads = 0
        self.cold_starts = 0
        self.actions: Counter[Action] = Counter()
        self.usage: list[tuple[float, int]] = [(0.0, 0)]
        self._holders: Counter[tuple[str, int]] = Counter()
        self._shares = 0.0
        self._share_s = 0.0
        self._gpu_s = 0.0
        self._at = 0.0

    @property
    def gpu_hours(self) -> float:
        """Of whole GPUs: one counts while anything holds a part of it."""
        return self._gpu_s / _HOUR_S

    @property
    def share_hours(self) -> float:
        """Of GPUs, fractions counted as such."""
        return self._share_s / _HOUR_S

    def decided(self, decision: Decision, now: float) -> None:
        """Note a decision."""
        if decision.reasons and now <= self._until_s:
            self.actions.update(reason.action for reason in decision.reasons)

    def load(self, first: bool) -> None:
        """A replica begins to load."""
        self.loads += 1
        self.cold_starts += first

    def hold(self, place: Place, footprint: Footprint, now: float) -> None:
        """GPUs are held from now on."""
        self._change(place, footprint, 1, now)

    def release(self, place: Place, footprint: Footprint, now: float) -> None:
        """They are free again."""
        self._change(place, footprint, -1, now)

    def close(self) -> None:
        """Count what is held up to the end."""
        self._count(self._until_s)
        self.usage = [step for step in self.usage if step[0] <= self._until_s]
        self.usage.append((self._until_s, self.usage[-1][1]))

    def _change(self, place: Place, footprint: Footprint, sign: int, now: float) -> None:
        if not footprint.gpus:
            return
        self._count(now)
        self._shares += sign * footprint.total
        for device in place.devices:
            self._holders[place.node, device] += sign
        self.usage.append((now, sum(holders > 0 for holders in self._holders.values())))

    def _count(self, now: float) -> None:
        now = min(now, self._until_s)
        if now > self._at:
            self._share_s += self._shares * (now - self._at)
            self._gpu_s += self.usage[-1][1] * (now - self._at)
            self._at = now
