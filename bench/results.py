"""What a run has measured, as it is written to `bench/results/`."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA: Final = 1
"""Raised when a field changes its meaning or goes."""

EngineKind = Literal["simulated", "real"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Round(_Frozen):
    """One load on one peer."""

    requests: int = Field(..., description="Answered, each in whole.")
    failed: int = Field(..., description="Refused, broken off or too short; in no other figure.")
    failure: str = Field(..., description="What was wrong with the first of these.")
    tokens: int = Field(..., description="Received.")
    wall_s: float = Field(..., description="From the first request to the end of the last answer, seconds.")
    tokens_per_s: float = Field(..., description="Over all clients.")
    requests_per_s: float = Field(..., description="Over all clients.")
    ttft_p50_ms: float = Field(..., description="Time to first token, median over the requests.")
    ttft_p99_ms: float = Field(..., description="Time to first token, 99th percentile.")
    itl_p50_ms: float = Field(..., description="Time between tokens, median; 0 where they arrive together.")
    itl_p99_ms: float = Field(..., description="Time between tokens, 99th percentile.")
    cpu_us_per_token: float = Field(..., description="Of the framework: all kinds below but the engine.")
    cpu_us_per_token_by_kind: dict[str, float] = Field(..., description="By what the processes are.")
    client_cpu_us_per_token: float = Field(..., description="Of the load generator; counted nowhere else.")
    memory_mib: float = Field(
        ...,
        description="Proportional set size of all processes, engine included, right after the round. A page "
        "that other peers use too, such as a library's, counts in part.",
    )


class Cell(_Frozen):
    """All rounds of one peer with so many clients."""

    engine: EngineKind = Field(..., description="What makes the tokens.")
    peer: str = Field(..., description="As the table shows it.")
    clients: int = Field(..., description="Requests in hand at once.")
    rounds: tuple[Round, ...] = Field(..., min_length=1, description="In the order in which they ran.")

    def median(self, of: Callable[[Round], float]) -> float:
        """The median of a figure over the rounds."""
        return statistics.median(map(of, self.rounds))

    def spread(self, of: Callable[[Round], float]) -> tuple[float, float]:
        """The least and the greatest of a figure."""
        values = list(map(of, self.rounds))
        return min(values), max(values)

    @property
    def failed(self) -> int:
        """Requests of all rounds that were not answered in whole."""
        return sum(each.failed for each in self.rounds)

    @property
    def peak_memory_mib(self) -> float:
        """The greatest of all rounds."""
        return max(each.memory_mib for each in self.rounds)


class PeerNote(_Frozen):
    """What there is to know of a peer beside its figures."""

    engine: EngineKind = Field(..., description="What makes the tokens.")
    peer: str = Field(..., description="As the table shows it.")
    counted: str = Field(..., description="Which processes CPU and memory are taken from.")
    command: str = Field(..., description="How it was started.")
    idle_cpu_percent: float = Field(
        ..., description="Of one core, with no request in hand, while the others are being measured."
    )


class Verdict(_Frozen):
    """One promise, and whether the run kept it."""

    promise: str = Field(..., description="In words.")
    value: float = Field(..., description="Measured: the median over rounds of what the promise is about.")
    bound: float = Field(..., description="What it may be.")
    at_least: bool = Field(..., description="Whether the bound is the least that will do, or the most.")

    @property
    def kept(self) -> bool:
        """Whether the value is on the right side."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound


class Results(_Frozen):
    """A run."""

    schema_version: Literal[1] = Field(SCHEMA, description="Of this file.")
    started: str = Field(..., description="ISO 8601, UTC.")
    machine: dict[str, str] = Field(..., description="What it ran on.")
    versions: dict[str, str] = Field(..., description="Of what was measured.")
    settings: dict[str, float | int | str] = Field(..., description="Rounds, seconds, tokens.")
    peers: tuple[PeerNote, ...] = Field(..., description="What was measured.")
    cells: tuple[Cell, ...] = Field(..., description="The figures.")
    verdicts: tuple[Verdict, ...] = Field((), description="The promises that this run could test.")

    def find(self, engine: EngineKind, peer: str, clients: int) -> Cell | None:
        """The figures of one peer with so many clients; None if they were not taken."""
        wanted = (engine, peer, clients)
        return next((c for c in self.cells if (c.engine, c.peer, c.clients) == wanted), None)

    def write(self, folder: Path) -> Path:
        """Write to ``<date>-<machine>.json``; another run of the day on the machine is replaced."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.started[:10]}-{self.machine['name']}.json"
        path.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
        return path


def read(path: Path) -> Results:
    """Read a file of this schema.

    Raises:
        pydantic.ValidationError: It is of another one.
    """
    return Results.model_validate_json(path.read_bytes())
