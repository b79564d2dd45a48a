"""Replicas that did not become ready: how many of a model, and why the last."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from deployments.board import Report
from deployments.fleet import Phase, Replica

_KEPT: Final = 256
"""Replicas that are remembered to have failed, so that none is counted twice."""


class Failures:
    """Counts them from look to look.

    Serve makes a new policy, and so a new one of these, with every configuration that it is handed. What was
    there before may have run and be about to stop: of that, only what it says of itself counts.
    """

    def __init__(self) -> None:
        self._inherited: frozenset[str] | None = None
        self._starting: dict[str, tuple[str, int]] = {}
        self._counted: deque[str] = deque(maxlen=_KEPT)
        self._told: deque[str] = deque(maxlen=_KEPT)
        self._totals: dict[str, int] = defaultdict(int)
        self._reasons: dict[str, str] = {}

    def total(self, model: str) -> int:
        """Starts of it that have failed, since this was made."""
        return self._totals[model]

    def reason(self, model: str) -> str | None:
        """Why one failed last."""
        return self._reasons.get(model)

    def look(
        self,
        replicas: Iterable[Replica],
        ran: Collection[str],
        targets: Mapping[str, int],
        reports: Mapping[str, Report],
    ) -> None:
        """Take in what there is now.

        Args:
            replicas: All that hold anything.
            ran: Ids of those that have been ready once.
            targets: Replicas that are meant to be, by model.
            reports: What replicas have said of themselves, by their ids.
        """
        for replica, report in reports.items():
            if report.failed is not None and replica not in self._told:
                self._told.append(replica)
                self._reasons[report.model] = report.failed
                self._count(replica, report.model)
        here = {replica.id: replica for replica in replicas}
        if self._inherited is None:
            self._inherited = frozenset(here)
        for replica, (model, target) in list(self._starting.items()):
            if replica in here and replica not in ran:
                continue
            del self._starting[replica]
            # One that a lower target has called back did not fail.
            if replica not in ran and targets.get(model, 0) >= target and replica not in self._counted:
                self._reasons[model] = "its process ended before it was ready; the node's log says more"
                self._count(replica, model)
        for one in here.values():
            if one.phase is Phase.STARTING and one.node is not None and one.id not in self._inherited:
                self._starting.setdefault(one.id, (one.model, targets.get(one.model, 0)))

    def _count(self, replica: str, model: str) -> None:
        if replica not in self._counted:
            self._counted.append(replica)
            self._totals[model] += 1
