"""A whole measurement of two real servers that are small: turns, figures, and that all of them end."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench import rounds
from bench.endpoint import Endpoint
from bench.peers import peer, server
from bench.peers.peer import PeerFailed, Running
from bench.rounds import Plan
from cluster.local import processes


@dataclass(frozen=True)
class Tiny:
    """A server that takes 10 ms for a token."""

    name: str
    counted: str = "all"
    module: str = "tests.unit.bench.tiny"

    def running(self, folder: Path) -> AbstractContextManager[Running]:
        port = peer.free_port()
        command = [sys.executable, "-m", self.module, str(port)]
        return server.serving(self.name, command, {}, Endpoint(port, "-", "m"), folder)


def test_peers_take_turns_and_all_of_them_end(tmp_path: Path) -> None:
    said: list[str] = []
    plan = Plan(clients=(1, 3), tokens=4, seconds=0, rounds=1, idle_s=0.2)

    with rounds.started(tmp_path, said.append) as start:
        peers = [(one, start(one)) for one in (Tiny("A"), Tiny("B"))]
        measured = rounds.measure("simulated", peers, plan, said.append)

    turns = [(cell.clients, cell.peer) for cell in measured.cells]
    assert turns == [(1, "A"), (1, "B"), (3, "A"), (3, "B")]
    for cell in measured.cells:
        (one,) = cell.rounds
        assert (one.requests, one.tokens) == (cell.clients, 4 * cell.clients)
        assert one.tokens_per_s < 4 * cell.clients / 0.04, "four steps of 10 ms"
        assert one.itl_p50_ms > 5
        assert one.memory_mib > 1
    assert [note.idle_cpu_percent < 100 for note in measured.notes] == [True, True]
    assert [processes.find(running.session) for _, running in peers] == [(), ()]


def test_a_peer_that_ends_at_once_says_why(tmp_path: Path) -> None:
    said: list[str] = []
    broken = Tiny("broken", module="no_such_module")

    with (
        pytest.raises(PeerFailed, match=r"broken has ended.*\n.*no_such_module"),
        rounds.started(tmp_path, said.append) as start,
    ):
        start(broken)
    assert said == []
