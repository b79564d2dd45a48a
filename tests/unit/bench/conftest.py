"""A run as `bench` would write it, with figures that are easy to check."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.results import Cell, EngineKind, PeerNote, Results, Round

MakeRound = Callable[..., Round]
MakeCell = Callable[..., Cell]


def _round(
    tokens_per_s: float = 1000,
    ttft_ms: float = 10,
    cpu_us: float = 50,
    memory_mib: float = 100,
    failed: int = 0,
) -> Round:
    return Round(
        requests=10,
        failed=failed,
        failure="lost" if failed else "",
        tokens=1280,
        wall_s=1.28,
        tokens_per_s=tokens_per_s,
        requests_per_s=tokens_per_s / 128,
        ttft_p50_ms=ttft_ms,
        ttft_p99_ms=ttft_ms * 2,
        itl_p50_ms=1,
        itl_p99_ms=3,
        cpu_us_per_token=cpu_us,
        cpu_us_per_token_by_kind={"ingress": cpu_us, "engine": 200},
        client_cpu_us_per_token=5,
        memory_mib=memory_mib,
    )


def _cell(engine: EngineKind, peer: str, clients: int, *rounds: Round) -> Cell:
    return Cell(engine=engine, peer=peer, clients=clients, rounds=rounds or (_round(),))


@pytest.fixture
def make_round() -> MakeRound:
    return _round


@pytest.fixture
def make_cell() -> MakeCell:
    return _cell


@pytest.fixture
def make_results() -> Callable[..., Results]:
    def make(*cells: Cell) -> Results:
        pairs = dict.fromkeys((cell.engine, cell.peer) for cell in cells)
        return Results(
            started="2026-01-02T03:04:05+00:00",
            machine={"name": "some-machine-2-cores", "processor": "Some", "cores": "2"},
            versions={"ray": "1"},
            settings={"rounds": 1},
            peers=tuple(
                PeerNote(engine=engine, peer=peer, counted="all", command="run", idle_cpu_percent=0.5)
                for engine, peer in pairs
            ),
            cells=cells,
        )

    return make
