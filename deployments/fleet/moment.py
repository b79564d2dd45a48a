"""When something is decided, and by which rules."""

from __future__ import annotations

from dataclasses import dataclass

from deployments.fleet.config import FleetConfig


@dataclass(frozen=True, slots=True)
class Moment:
    """One look's circumstances.

    Attributes:
        rules: The rules' figures.
        now: A clock that never goes back, seconds.
    """

    rules: FleetConfig
    now: float
