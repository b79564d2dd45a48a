"""The rules, one by one."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from deployments import catalog
from deployments.config import AutoscaleConfig, ModelConfig, ModelKind
from deployments.fleet import Action, Decision, FleetConfig, FleetModel, ModelState
from tests.unit.deployments.fleet.world import World, model


def actions(decision: Decision) -> dict[str, Action]:
    return {reason.model: reason.action for reason in decision.reasons}


def test_policy_knows_no_cluster() -> None:
    probe = "import sys, deployments.fleet; sys.exit(bool({'ray', 'torch', 'vllm'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0


def test_cold_model_is_loaded_when_it_is_asked_for() -> None:
    world = World(model("a"))
    world.ask("a", 3)

    decision = world.tick()

    assert decision.targets == {"a": 1}
    assert decision.reasons[0].words == "3 requests wait for it, and it is not loaded"
    assert decision.statuses["a"].state is ModelState.COLD
    status = world.tick().statuses["a"]
    assert (status.state, status.ready_in_s) == (ModelState.LOADING, 60)


def test_long_queue_brings_several_replicas_at_once() -> None:
    world = World(model("a", max_replicas=4, target_ongoing_requests=10))
    world.settle("a")
    world.demand["a"].ongoing, world.demand["a"].queued = 12, 17

    assert world.tick().targets == {"a": 3}


def test_load_above_target_without_a_queue_must_last() -> None:
    world = World(model("a", max_replicas=4, target_ongoing_requests=10))
    world.settle("a")
    world.ask("a", 15)

    assert not world.tick().targets
    assert world.tick(5).targets == {"a": 2}


def test_full_kv_cache_brings_one_replica_and_no_second_before_it_runs() -> None:
    world = World(model("a", max_replicas=4))
    world.settle("a")
    world.ask("a")
    world.demand["a"].kv = 0.95

    assert world.tick().targets == {"a": 2}
    assert not world.tick().targets


def test_replica_goes_once_the_rest_would_have_carried_the_peak() -> None:
    world = World(model("a", max_replicas=2, target_ongoing_requests=10))
    world.settle("a")
    world.demand["a"].queued = 20
    world.tick()
    world.ready()
    world.finish("a")
    world.ask("a", 8)

    for _ in range(11):
        assert not world.tick(10).targets
    decision = [world.tick(10) for _ in range(3)]

    assert {"a": 1} in [each.targets for each in decision]
    assert actions(decision[-1]) == {}


def test_replica_stays_where_the_rest_would_be_full() -> None:
    world = World(model("a", max_replicas=2, target_ongoing_requests=10))
    world.settle("a")
    world.demand["a"].queued = 20
    world.tick()
    world.ready()
    world.finish("a")
    world.ask("a", 9)

    assert not any(world.tick(10).targets for _ in range(60))


def test_replica_that_came_late_stays_for_its_residency() -> None:
    world = World(model("a", max_replicas=2, target_ongoing_requests=10))
    world.settle("a")
    world.demand["a"].queued = 20
    world.tick()
    world.finish("a")
    world.ask("a")
    for _ in range(20):
        assert not world.tick(10).targets, "it still loads"
    world.ready()
    assert not any(world.tick(10).targets for _ in range(6))
    assert world.tick(10).targets == {"a": 1}


def test_unknown_figures_change_nothing() -> None:
    world = World(model("hot", min_replicas=1), model("a"))
    world.settle("a")
    for demand in world.demand.values():
        demand.known = False

    decisions = [world.tick(300) for _ in range(10)]

    assert not any(each.targets or each.reasons for each in decisions)


def test_idle_model_is_unloaded_once_idling_has_cost_a_load_and_pinned_one_is_not() -> None:
    world = World(model("hot", min_replicas=1), model("a", expected_load_s=60), waiting_weight=3)
    world.tick()
    world.ready()
    world.settle("a")

    assert not world.tick(235).targets
    decision = world.tick(10)

    assert decision.targets == {"a": 0}
    assert "240 s, and keeping it costs more than a load" in decision.reasons[0].words


def test_idle_model_is_unloaded_after_the_longest_time_whatever_a_load_costs() -> None:
    world = World(model("a", expected_load_s=6000))
    world.settle("a")

    assert not world.tick(590).targets
    decision = world.tick(10)

    assert decision.targets == {"a": 0}
    assert decision.reasons[0].words == "nobody has asked for it for 600 s"


def test_idle_model_stays_to_the_last_where_its_going_would_free_no_gpu() -> None:
    world = World(model("hot", min_replicas=1, gpu_share=0.5), model("a", gpu_share=0.5), node_gpus=(1,))
    world.tick()
    world.ready()
    world.settle("a")

    assert not any(world.tick(59).targets for _ in range(10))
    assert world.tick(10).targets == {"a": 0}, "idle for idle_unload_s"


def test_idle_models_that_share_a_gpu_go_together() -> None:
    world = World(model("a", gpu_share=0.5), model("b", gpu_share=0.5), node_gpus=(1,))
    world.settle("a")
    world.settle("b")
    world.tick(100)
    world.ask("b")
    world.tick()
    world.finish("b")

    assert not world.tick(400).targets, "b is not idle for long enough"
    assert world.tick(80).targets == {"a": 0, "b": 0}


def test_failed_starts_back_off_exponentially_and_tell_it() -> None:
    world = World(model("a"))
    world.ask("a")
    waits = []
    for _ in range(4):
        world.tick()
        world.tick()
        world.fail("a")
        decision = world.tick()
        assert decision.targets == {"a": 0}
        assert decision.statuses["a"].state is ModelState.FAILED
        waits.append(decision.statuses["a"].retry_in_s)
        world.gone()
        assert not world.tick((waits[-1] or 0) - 1).targets
        assert world.tick(1).targets == {"a": 1}
        world.targets["a"] = 1

    assert waits == [10, 20, 40, 80]
    world.ready()
    assert world.tick().statuses["a"].state is ModelState.HOT
    assert world.state.memories["a"].failures == 0


def test_load_time_is_learned() -> None:
    world = World(model("a", expected_load_s=60))
    world.ask("a")
    world.tick()
    world.tick()
    world.tick(100)
    world.ready()
    world.tick()

    # The first measurement takes the place of the guess.
    assert world.state.memories["a"].load_s == pytest.approx(101)


@pytest.mark.parametrize(
    "fields",
    [
        {"models": (model("a"), model("a"))},
        {"models": (model("a"),), "idle_unload_s": 30},
        {"models": ()},
    ],
)
def test_configuration_that_cannot_be_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FleetConfig.model_validate(fields)


def test_part_of_several_gpus_is_refused() -> None:
    with pytest.raises(ValidationError, match="gpu_share"):
        model("a", tensor_parallel_size=2, gpu_share=0.5)


def test_configured_model_becomes_one_of_the_fleet() -> None:
    config = ModelConfig(
        id="a",
        source="s",
        kind=ModelKind.EMBEDDING,
        accelerator="A10",
        tensor_parallel_size=2,
        autoscale=AutoscaleConfig(max_replicas=3),
    )

    fleet = FleetModel.from_config(config, min_replicas=0, expected_load_s=30)

    assert (fleet.max_replicas, fleet.pinned, fleet.reports_kv_cache) == (3, False, False)
    assert fleet.expected_load_s == 30
    assert fleet.footprint.gpus == 2


def test_configured_model_that_may_go_to_zero_is_not_pinned() -> None:
    config = ModelConfig(id="a", source="a", kind=ModelKind.TEXT, autoscale=AutoscaleConfig(min_replicas=0))

    assert not FleetModel.from_config(config).pinned


def test_configured_model_is_expected_by_its_size() -> None:
    source = "Qwen/Qwen2.5-32B-Instruct"
    config = ModelConfig(id="a", source=source, kind=ModelKind.TEXT, accelerator="A100", sleep_level=1)

    known = FleetModel.from_config(config, catalog.architecture(source))

    assert known.expected_load_s > FleetModel.from_config(config).expected_load_s == 60
    assert known.sleep_bytes is not None
    assert known.sleep_bytes > 65e9
