"""The orders of one decision, while they are being collected."""

from __future__ import annotations

from collections.abc import Mapping

from deployments.fleet.decision import Action, Decision, Reason, Shortage, Status


class Orders:
    """Orders so far, each with its reason.

    Args:
        now: The clock, seconds.
    """

    def __init__(self, now: float) -> None:
        self._now = now
        self._targets: dict[str, int] = {}
        self._sleep: list[str] = []
        self._wake: list[str] = []
        self._reasons: list[Reason] = []
        self._shortages: list[Shortage] = []

    def concern(self, model: str) -> bool:
        """Whether something has been ordered for a model."""
        return model in self._targets or model in self._sleep or model in self._wake

    def target(self, model: str, replicas: int, action: Action, words: str) -> None:
        """So many replicas from now on."""
        self._targets[model] = replicas
        self.explain(model, action, words)

    def aimed(self, model: str, replicas: int) -> int:
        """Replicas that it is to have: as ordered, or else as many as before."""
        return self._targets.get(model, replicas)

    def lack(self, shortage: Shortage, replicas: int) -> None:
        """So many replicas wait for machines that are not there."""
        self._shortages += [shortage] * replicas

    def sleep(self, model: str, words: str) -> None:
        """Its replica shall sleep."""
        self._sleep.append(model)
        self.explain(model, Action.SLEEP, words)

    def wake(self, model: str, words: str) -> None:
        """Its replica shall wake."""
        self._wake.append(model)
        self.explain(model, Action.WAKE, words)

    def explain(self, model: str, action: Action, words: str) -> None:
        """A reason for what is, or is not, ordered."""
        self._reasons.append(Reason(self._now, model, action, words))

    def decision(self, statuses: Mapping[str, Status]) -> Decision:
        """All of them."""
        return Decision(
            self._targets,
            tuple(self._sleep),
            tuple(self._wake),
            statuses,
            tuple(self._reasons),
            tuple(self._shortages),
        )
