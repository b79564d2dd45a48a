"""Placement of replicas on GPUs."""

from __future__ import annotations

from deployments.fleet import Footprint, Node, Phase, Replica
from deployments.fleet.pool import Place, Pool

QUARTER, HALF, WHOLE, PAIR = Footprint(1, 250), Footprint(1, 500), Footprint(1), Footprint(2)


def replica(name: str, footprint: Footprint, phase: Phase = Phase.RUNNING, *devices: int) -> Replica:
    return Replica(name, "m", phase, footprint, "n", devices)


def node(gpus: int, name: str = "n") -> Node:
    return Node(name, "A100", gpus)


def test_fractions_fill_a_gpu_before_the_next() -> None:
    pool = Pool([node(2)], [replica("a", HALF)])
    assert pool.fit(HALF, "A100") == pool.fit(QUARTER, "A100") == Place("n", (0,))
    assert pool.fit(WHOLE, "A100") == Place("n", (1,))
    assert pool.fit(PAIR, "A100") is None


def test_known_devices_are_believed() -> None:
    pool = Pool([node(2)], [replica("a", HALF, Phase.RUNNING, 0), replica("b", HALF, Phase.RUNNING, 1)])
    assert pool.fit(WHOLE, "A100") is None


def test_fullest_node_is_taken_so_that_the_other_stays_whole() -> None:
    pool = Pool([node(2), node(2, "m")], [replica("a", WHOLE)])
    assert pool.fit(WHOLE, "A100") == Place("n", (1,))
    assert pool.fit(PAIR, "A100") == Place("m", (0, 1))
    assert pool.fit(WHOLE, "A100", "m") == Place("m", (0,))


def test_stopping_replica_is_room_only_for_later() -> None:
    pool = Pool([node(1)], [replica("a", WHOLE, Phase.STOPPING)])
    assert pool.fit(WHOLE, "A100") is None
    assert pool.fit_after(WHOLE, "n") == Place("n", (0,))
    pool.take(Place("n", (0,)), WHOLE)
    assert pool.fit_after(WHOLE, "n") is None, "promised once"


def test_running_replica_is_room_if_it_goes() -> None:
    pool = Pool([node(2)], [replica("a", HALF), replica("b", HALF), replica("c", WHOLE)])
    assert pool.fit_after(PAIR, "n", ["a", "c"]) is None
    assert pool.fit_after(PAIR, "n", ["a", "b", "c"]) is not None
    pool.stop("c")
    assert pool.fit_after(WHOLE, "n") is not None


def test_more_held_than_there_is_counts_as_full() -> None:
    pool = Pool([node(1)], [replica("a", WHOLE), replica("b", WHOLE)])
    assert pool.fit(QUARTER, "A100") is None


def test_replica_on_a_lost_node_holds_nothing() -> None:
    assert Pool([node(1, "other")], [replica("a", WHOLE)]).fit(WHOLE, "A100") is not None
