"""The board: where the fleet policy, the replicas and the ingresses read what the others know.

A detached actor with a name, since the policy runs inside Serve's controller, which cannot be asked. It keeps
nothing that cannot be told again: the ingresses bring the configuration, the policy everything else. If it
is lost, whoever next writes to it starts a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import ray
from ray.actor import ActorHandle

from deployments.fleet import FleetConfig, Journal, ModelState, Reason

_NAMESPACE: Final = "serve"
_REPORTS_KEPT: Final = 256
_WATCH_S: Final = 2.0
"""A watcher that sees no change asks again after so long; then it also tells what has changed on its side."""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What the ingresses tell of a model.

    Attributes:
        state: hot, warm, loading, cold or failed.
        replicas: That run.
        load_s: What a load takes, learned, seconds.
        loading_since: When the load began, seconds of ``time.time``; None where none is under way.
        ready_in_s: Until it answers, once its GPUs are free, seconds.
        place_in_queue: From 1, while it waits for GPUs.
        retry_in_s: Until a failed model is tried again.
        error: Why it did not start, for administrators.
        progress: What its load is doing.
    """

    state: ModelState
    replicas: int = 0
    load_s: float = 0.0
    loading_since: float | None = None
    ready_in_s: float = 0.0
    place_in_queue: int | None = None
    retry_in_s: float | None = None
    error: str | None = None
    progress: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The fleet at one moment.

    Attributes:
        version: Rises with each change; 0 before the policy has told anything.
        configured: Whether the policy knows the models; if not, whoever does shall tell.
        statuses: By model.
        gpus: In use and in all, by accelerator type.
        at: When it was told, seconds of ``time.time``.
    """

    version: int = 0
    configured: bool = False
    statuses: Mapping[str, ModelStatus] = field(default_factory=dict)
    gpus: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """What a replica says of itself.

    Attributes:
        model: Whose it is.
        failed: Why it does not start; None: it does, or has.
        progress: What its load is doing.
        sleeping: Whether its engine sleeps.
    """

    model: str
    failed: str | None = None
    progress: str | None = None
    sleeping: bool = False


@dataclass(frozen=True, slots=True)
class News:
    """What the policy reads of the board.

    Attributes:
        config: The models and the rules; None: nobody has told yet.
        reports: By replica.
        statuses: As the policy has told them last, perhaps before the controller was started anew.
    """

    config: FleetConfig | None
    reports: Mapping[str, Report]
    statuses: Mapping[str, ModelStatus]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the policy tells after a look at the cluster.

    Attributes:
        statuses: By model.
        gpus: In use and in all, by accelerator type.
        reasons: For what it has ordered, and for what waits.
        sleepers: Replicas whose engines shall sleep.
        at: Seconds of ``time.time``.
    """

    statuses: Mapping[str, ModelStatus]
    gpus: Mapping[str, tuple[float, float]]
    reasons: tuple[Reason, ...]
    sleepers: frozenset[str]
    at: float


class Board:
    """The actor's state."""

    def __init__(self) -> None:
        self._config: FleetConfig | None = None
        self._snapshot = Snapshot()
        self._reports: dict[str, Report] = {}
        self._journal = Journal(1000)
        self._sleepers: frozenset[str] = frozenset()
        self._changed = asyncio.Event()

    async def configure(self, config: FleetConfig) -> None:
        """Take the models and the rules."""
        if config != self._config:
            self._journal = Journal(config.journal_entries)
            self._config = config
        self._tell(self._snapshot.statuses, self._snapshot.gpus, self._snapshot.at)

    async def report(self, replica: str, report: Report) -> bool:
        """Take a replica's word of itself.

        Returns:
            Whether its engine shall sleep.
        """
        self._reports.pop(replica, None)
        self._reports[replica] = report
        while len(self._reports) > _REPORTS_KEPT:
            del self._reports[next(iter(self._reports))]
        return replica in self._sleepers

    async def publish(self, verdict: Verdict) -> News:
        """Take the policy's word.

        Returns:
            What the others have told since.
        """
        self._journal.record(verdict.reasons)
        self._sleepers = verdict.sleepers
        self._tell(verdict.statuses, verdict.gpus, verdict.at)
        return await self.news()

    async def news(self) -> News:
        """What the policy reads."""
        return News(self._config, dict(self._reports), self._snapshot.statuses)

    async def watch(self, version: int) -> Snapshot:
        """The fleet, once it is another than the version given; or after some seconds as it is."""
        if self._snapshot.version == version:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), _WATCH_S)
        return self._snapshot

    async def reasons(self) -> list[dict[str, Any]]:
        """The latest decisions, newest first."""
        return [
            {
                "at": entry.reason.at,
                "last_at": entry.last_at,
                "times": entry.times,
                "model": entry.reason.model,
                "action": entry.reason.action.value,
                "reason": entry.reason.words,
            }
            for entry in reversed(self._journal.entries())
        ]

    def _tell(
        self, statuses: Mapping[str, ModelStatus], gpus: Mapping[str, tuple[float, float]], at: float
    ) -> None:
        last, configured = self._snapshot, self._config is not None
        same = (last.statuses, last.gpus, last.configured) == (statuses, gpus, configured)
        version = last.version if same else last.version + 1
        self._snapshot = Snapshot(version, configured, statuses, gpus, at)
        if not same:
            self._changed.set()
            self._changed = asyncio.Event()


def find(application: str) -> ActorHandle[Board]:
    """The board of an application; it is started if there is none.

    Raises:
        ray.exceptions.RayError: It cannot be reached or started.
    """
    return (
        ray.remote(Board)
        .options(
            name=f"qwen-serve-board:{application}",
            namespace=_NAMESPACE,
            get_if_exists=True,
            lifetime="detached",
            num_cpus=0,
            max_restarts=-1,
            max_concurrency=1000,
        )
        .remote()
    )
