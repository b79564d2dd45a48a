"""What the fleet policy answers: orders for the cluster, each with its reason in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from deployments.fleet.observation import Footprint


class Action(StrEnum):
    """What was decided for a model."""

    LOAD = "load"
    WAKE = "wake"
    GROW = "grow"
    SHRINK = "shrink"
    UNLOAD = "unload"
    EVICT = "evict"
    SLEEP = "sleep"
    WAIT = "wait"
    WITHDRAW = "withdraw"
    BACK_OFF = "back-off"


class ModelState(StrEnum):
    """What clients are told of a model."""

    HOT = "hot"
    """A replica runs: it answers at once."""
    WARM = "warm"
    """A replica sleeps: it answers after some seconds."""
    LOADING = "loading"
    COLD = "cold"
    """Nothing runs; the first request loads it."""
    FAILED = "failed"
    """It did not start; it is tried again after ``retry_in_s``."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something was decided.

    Attributes:
        at: The clock's time, seconds.
        model: Whose decision it is.
        action: What was decided.
        words: Why, for people.
    """

    at: float
    model: str
    action: Action
    words: str


@dataclass(frozen=True, slots=True)
class Status:
    """A model's state, with what a client that waits for it wants to know.

    Attributes:
        state: See ``ModelState``.
        ready_in_s: Learned time until it answers, seconds, once its GPUs are free; 0 where it runs.
        place_in_queue: From 1, while it waits for GPUs.
        retry_in_s: Until a failed model is tried again.
    """

    state: ModelState
    ready_in_s: float = 0.0
    place_in_queue: int | None = None
    retry_in_s: float | None = None


@dataclass(frozen=True, slots=True)
class Shortage:
    """A replica for which no room can be made on the machines that there are.

    Attributes:
        accelerator: GPU type that it needs.
        footprint: What it takes of one machine.
    """

    accelerator: str
    footprint: Footprint


@dataclass(frozen=True, slots=True)
class Decision:
    """Orders for the cluster. A model that is not named stays as it is.

    Attributes:
        targets: Replicas that the cluster shall aim at, only where that changes.
        sleep: Models whose one replica shall sleep.
        wake: Models whose sleeping replica shall wake.
        statuses: Every configured model's state, before the orders are carried out.
        reasons: One for each order and for each wait.
        shortages: What further machines are wanted for.
    """

    targets: Mapping[str, int]
    sleep: tuple[str, ...]
    wake: tuple[str, ...]
    statuses: Mapping[str, Status]
    reasons: tuple[Reason, ...]
    shortages: tuple[Shortage, ...] = ()
