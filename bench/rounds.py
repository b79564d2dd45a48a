"""The measurement: all peers of an engine up at once, each in its turn with the same load, in rounds."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench import accounting
from bench.generator import generator
from bench.load import Report
from bench.pause import paused
from bench.peers.peer import Peer, Running
from bench.results import Cell, EngineKind, PeerNote, Round

Say = Callable[[str], None]

_ROOT = Path(__file__).resolve().parent.parent
_MIB = 2**20
_WARM_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        clients: Requests in hand at once; one load for each number.
        tokens: Of each answer.
        seconds: A load goes on for so long and then finishes what it has begun.
        rounds: How often every peer gets its turn with every number of clients.
        idle_s: For so long the peers are left alone once, to see what they use when nobody asks.
    """

    clients: tuple[int, ...]
    tokens: int
    seconds: float
    rounds: int
    idle_s: float
    most_requests: int = 20_000


@dataclass(frozen=True, slots=True)
class Measured:
    """What the peers of one engine have shown.

    Attributes:
        notes: On each peer.
        cells: Their figures.
    """

    notes: tuple[PeerNote, ...]
    cells: tuple[Cell, ...]


def measure(engine: EngineKind, peers: Sequence[tuple[Peer, Running]], plan: Plan, say: Say) -> Measured:
    """Measure peers that are up.

    A round goes through the numbers of clients and, for each, through the peers: A B C D, A B C D, ... So a
    disturbance of the machine meets all peers alike. Those that wait stand still. One load before the first
    round is not counted.

    Raises:
        LoadFailed: No answer was whole.
    """
    for _, running in peers:
        load(running, max(plan.clients), replace(plan, tokens=_WARM_TOKENS, seconds=0))
    idle = _idle_percent(peers, plan.idle_s)
    taken: dict[tuple[str, int], list[Round]] = {}
    for number in range(plan.rounds):
        for clients in plan.clients:
            for peer, running in peers:
                with paused(_waiting(peers, running)):
                    one = load(running, clients, plan)
                taken.setdefault((peer.name, clients), []).append(one)
                turn = f"{engine}, round {number + 1} of {plan.rounds}, {clients:3} clients"
                say(f"{turn}, {peer.name:13}: {_brief(one)}")
    notes = [
        PeerNote(
            engine=engine,
            peer=peer.name,
            counted=peer.counted,
            command=_portable(running.command),
            idle_cpu_percent=idle[peer.name],
        )
        for peer, running in peers
    ]
    cells = [
        Cell(engine=engine, peer=name, clients=clients, rounds=tuple(rounds))
        for (name, clients), rounds in taken.items()
    ]
    return Measured(tuple(notes), tuple(cells))


def _waiting(peers: Sequence[tuple[Peer, Running]], turn: Running) -> list[str]:
    """The sessions that have no part in a turn."""
    return [each.session for _, each in peers if each.session not in (turn.session, *turn.behind)]


def load(running: Running, clients: int, plan: Plan) -> Round:
    """Put one load on one peer.

    Raises:
        LoadFailed: No answer was whole.
    """
    loading = generator(running.endpoint, clients, plan.tokens, plan.seconds, plan.most_requests)
    with loading as ready:
        before = accounting.cpu_s(running.session)
        ready.go()
        used = accounting.since(before, accounting.cpu_s(running.session))
        report = ready.report()
    memory = sum(accounting.memory_bytes(running.session).values())
    return _round(report, used, memory)


def _round(report: Report, cpu_s: dict[str, float], memory_bytes: float) -> Round:
    per_token = {kind: seconds / report.tokens * 1e6 for kind, seconds in sorted(cpu_s.items())}
    return Round(
        requests=report.requests,
        failed=report.failed,
        failure=report.failure,
        tokens=report.tokens,
        wall_s=report.wall_s,
        tokens_per_s=report.tokens / report.wall_s,
        requests_per_s=report.requests / report.wall_s,
        ttft_p50_ms=report.ttft_p50_s * 1e3,
        ttft_p99_ms=report.ttft_p99_s * 1e3,
        itl_p50_ms=report.itl_p50_s * 1e3,
        itl_p99_ms=report.itl_p99_s * 1e3,
        cpu_us_per_token=accounting.without_engine(per_token),
        cpu_us_per_token_by_kind=per_token,
        client_cpu_us_per_token=report.own_cpu_s / report.tokens * 1e6,
        memory_mib=memory_bytes / _MIB,
    )


def _idle_percent(peers: Sequence[tuple[Peer, Running]], seconds: float) -> dict[str, float]:
    before = {peer.name: sum(accounting.cpu_s(running.session).values()) for peer, running in peers}
    time.sleep(seconds)
    return {
        peer.name: (sum(accounting.cpu_s(running.session).values()) - before[peer.name]) / seconds * 100
        for peer, running in peers
    }


def _portable(command: str) -> str:
    """A command without the folders of this machine: relative to the repository and to the run's folder."""
    return re.sub(r"\S*/qs-bench-\w+/", "", command.replace(f"{_ROOT}/", ""))


def _brief(one: Round) -> str:
    return (
        f"{one.tokens_per_s:8,.0f} tokens/s, TTFT {one.ttft_p50_ms:7,.1f} ms, "
        f"{one.cpu_us_per_token:7,.1f} us of CPU per token"
        + (f"; {one.failed} failed: {one.failure}" if one.failed else "")
    )


@contextlib.contextmanager
def started(folder: Path, say: Say) -> Iterator[Callable[[Peer], Running]]:
    """Start peers one after the other, each with a folder of its own; all are ended with the block."""
    with contextlib.ExitStack() as stack:

        def start(peer: Peer) -> Running:
            own = folder / peer.name.replace(" ", "-")
            own.mkdir(parents=True)
            begun = time.monotonic()
            running = stack.enter_context(peer.running(own))
            say(f"{peer.name} answers after {time.monotonic() - begun:.0f} s")
            return running

        yield start
