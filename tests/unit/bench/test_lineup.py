"""Who is started, in which order, and what stands behind whom."""

from __future__ import annotations

from bench import lineup
from bench.endpoint import Endpoint
from bench.peers.litellm import LiteLlm
from bench.peers.peer import Peer, Running


class Starter:
    """Notes who is started."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []

    def __call__(self, peer: Peer) -> Running:
        self.peers.append(peer)
        return Running(Endpoint(1, "-", "m"), f"session of {peer.name}", "command")


def test_litellm_stands_in_front_of_the_bare_server_of_each_engine() -> None:
    for line, bare in ((lineup.simulated, "bare uvicorn"), (lineup.real, "bare vLLM")):
        start = Starter()

        names = [peer.name for peer, _ in line(start)]

        assert names[0] == bare
        assert names == [peer.name for peer in start.peers]
        (litellm,) = (peer for peer in start.peers if isinstance(peer, LiteLlm))
        assert litellm.upstream.session == f"session of {bare}"


def test_the_measured_models_are_those_of_the_configurations() -> None:
    assert lineup.first_model(lineup.REAL).simulation is None
    assert lineup.first_model(lineup.SIMULATED).simulation is not None
