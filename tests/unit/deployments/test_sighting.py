"""What the fleet policy is told of the cluster."""

from __future__ import annotations

from deployments.board import Report
from deployments.fleet import CPU, FleetConfig, FleetModel, Footprint, Node, Phase
from deployments.load import EngineLoad
from deployments.sighting import Sighting
from tests.unit.deployments.sights import APPLICATION, MadeUpGpus, context, held, machine

CONFIG = FleetConfig(
    models=(FleetModel(id="a", accelerator="A100"), FleetModel(id="Org/b.1", accelerator="A100"))
)


def test_replicas_are_told_with_what_they_hold_and_where_they_are_in_life() -> None:
    gpus = MadeUpGpus([machine()], [held("a", "r1"), held("a", "r2", node=None), held("Org/b.1", "r3")])
    sighting = Sighting(APPLICATION, gpus)

    contexts = [context("a", "r1", target=2), context("Org/b.1", "r3", target=1)]
    seen = sighting.look(contexts, CONFIG, {"r3": Report("Org/b.1", sleeping=True)})

    assert [(one.id, one.model, one.phase, one.node) for one in seen.replicas] == [
        ("r1", "a", Phase.RUNNING, "n1"),
        ("r2", "a", Phase.STARTING, None),
        ("r3", "Org/b.1", Phase.SLEEPING, "n1"),
    ]


def test_replica_that_has_run_and_runs_no_more_still_holds_its_gpu() -> None:
    gpus = MadeUpGpus([machine()], [held("a", "r1")])
    sighting = Sighting(APPLICATION, gpus)
    sighting.look([context("a", "r1", target=1)], CONFIG, {})

    seen = sighting.look([context("a", target=0)], CONFIG, {})

    assert [one.phase for one in seen.replicas] == [Phase.STOPPING]
    assert seen.replicas[0].footprint == Footprint(1)


def test_replica_of_a_model_that_is_no_longer_there_stops() -> None:
    sighting = Sighting(APPLICATION, MadeUpGpus([machine()], [held("gone", "r1")]))
    seen = sighting.look([context("a")], CONFIG, {})
    assert [(one.model, one.phase) for one in seen.replicas] == [("ModelServer:gone", Phase.STOPPING)]


def test_load_is_put_together_from_serve_and_the_engines() -> None:
    engines = {
        "r1": EngineLoad(waiting=2, running=4, kv_cache_usage=0.5, requests_total=10),
        "r2": EngineLoad(waiting=0, running=1, kv_cache_usage=0.3, requests_total=5),
    }
    sighting = Sighting(APPLICATION, MadeUpGpus())

    seen = sighting.look(
        [context("a", "r1", "r2", target=2, total=9.0, queued=3.0, engines=engines)], CONFIG, {}
    )

    load = seen.loads["a"]
    assert (load.target, load.queued, load.ongoing) == (
        2,
        3.0,
        7.0,
    )  # the engines' 7 is of now
    assert load.kv_cache_usage == 0.4
    assert load.requests_total == 15
    assert "Org/b.1" not in seen.loads, "nothing is known of it"


def test_cache_of_which_a_replica_says_nothing_is_not_known() -> None:
    engines = {"r1": EngineLoad(kv_cache_usage=0.5)}
    contexts = [context("a", "r1", "r2", target=2, engines=engines)]
    assert Sighting(APPLICATION, MadeUpGpus()).look(contexts, CONFIG, {}).loads["a"].kv_cache_usage is None


def test_requests_of_replicas_that_have_gone_stay_counted() -> None:
    sighting = Sighting(APPLICATION, MadeUpGpus())

    def total(**counts: int) -> int | None:
        engines = {replica: EngineLoad(requests_total=count) for replica, count in counts.items()}
        return sighting.look([context("a", *counts, engines=engines)], CONFIG, {}).loads["a"].requests_total

    assert total(r1=10) == 10
    assert total(r1=12, r2=1) == 13
    assert total(r2=1) == 13
    assert total(r3=4) == 17


def test_machines_are_known_by_the_type_that_models_name() -> None:
    config = FleetConfig(models=(FleetModel(id="a", accelerator="A100-80G"),))
    machines = [
        machine("n1", 4, 4.0, "A100", "A100-80G"),
        machine("n2", 2, 2.0, "A10"),
        machine("n3", 0, 0.0, "A100-80G"),
    ]
    seen = Sighting(APPLICATION, MadeUpGpus(machines)).look([], config, {})
    assert seen.nodes == (Node("n1", "A100-80G", 4),)


def test_gpus_that_others_hold_are_taken_off_once_that_has_lasted() -> None:
    gpus = MadeUpGpus([machine(free=1.0)], [held("a", "r1")])
    sighting = Sighting(APPLICATION, gpus)
    told = [sighting.look([context("a", "r1")], CONFIG, {}).nodes[0].gpus for _ in range(6)]
    assert told == [4, 4, 4, 4, 2, 2]
    gpus.nodes = [machine(free=3.0)]
    assert sighting.look([context("a", "r1")], CONFIG, {}).nodes[0].gpus == 4


def test_engines_on_the_cpu_take_slots_where_these_are_limited() -> None:
    config = FleetConfig(models=(FleetModel(id="a"),), cpu_engines_per_node=2)
    gpus = MadeUpGpus([machine(gpus=0, free=0.0)], [held("a", "r1", gpus=0)])
    seen = Sighting(APPLICATION, gpus).look([context("a", "r1", target=1)], config, {})
    assert seen.nodes == (Node("n1/cpu", CPU, 2),)
    assert (seen.replicas[0].node, seen.replicas[0].footprint) == ("n1/cpu", Footprint(1))


def test_failed_start_is_told_once() -> None:
    gpus = MadeUpGpus([machine()], [held("a", "r1")])
    sighting = Sighting(APPLICATION, gpus)
    sighting.look([context("a", target=1)], CONFIG, {})
    gpus.replicas = []
    for _ in range(2):
        seen = sighting.look([context("a", target=1)], CONFIG, {"r1": Report("a", failed="no weights")})
        assert seen.loads["a"].failed_starts_total == 1
    assert sighting.failure("a") == "no weights"
