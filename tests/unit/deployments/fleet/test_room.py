"""Who gets GPUs, who gives way, who waits."""

from __future__ import annotations

import pytest

from deployments.fleet import Action, Decision, FleetModel, Footprint, ModelState, Node, Phase, Shortage
from tests.unit.deployments.fleet.world import World, model


def actions(decision: Decision) -> dict[str, Action]:
    return {reason.model: reason.action for reason in decision.reasons}


def test_model_of_which_nothing_is_known_is_not_evicted() -> None:
    world = World(model("a"), model("b"), node_gpus=(1,))
    world.settle("a")
    world.demand["a"].known = False
    world.ask("b")

    assert actions(world.tick(1000)) == {"b": Action.WAIT}


def test_pinned_model_below_its_minimum_comes_first_and_evicts() -> None:
    world = World(model("a"), model("b"), model("hot", min_replicas=1), node_gpus=(1,))
    world.demand["hot"].known = False
    world.settle("a")
    world.tick(200)
    world.demand["hot"].known = True
    world.ask("b")

    assert actions(world.tick()) == {"hot": Action.WAIT, "a": Action.EVICT, "b": Action.WAIT}
    world.gone()
    assert world.tick().targets == {"hot": 1}


def test_idle_model_that_is_cheapest_to_be_without_gives_way() -> None:
    world = World(model("old"), model("new"), model("asks"), node_gpus=(2,), waiting_weight=10)
    world.settle("old")
    for _ in range(4):
        world.settle("new")
        world.tick(100)
    world.ask("asks")

    decision = world.tick()

    assert decision.targets == {"old": 0}
    assert "asks waits" in next(each for each in decision.reasons if each.model == "old").words
    assert not world.tick().targets, "the one that stops still holds its GPU"
    world.gone()
    assert world.tick().targets == {"asks": 1}


def test_model_that_loads_slowly_stays_rather_than_one_that_loads_fast() -> None:
    world = World(
        model("slow", expected_load_s=120),
        model("fast", expected_load_s=20),
        model("asks"),
        node_gpus=(2,),
        waiting_weight=10,
    )
    world.settle("slow")
    world.settle("fast")
    world.tick(150)
    world.ask("asks")

    assert world.tick().targets == {"fast": 0}


def test_busy_model_is_not_evicted_however_long_others_wait() -> None:
    world = World(model("a"), model("b"), node_gpus=(1,))
    world.settle("a")
    world.ask("a")
    world.ask("b")

    assert not any(world.tick(60).targets for _ in range(60))
    world.finish("a")
    assert world.tick().targets == {"a": 0}


def test_pause_in_a_conversation_counts_as_use_until_the_other_has_waited_for_long() -> None:
    world = World(model("a"), model("b"), node_gpus=(1,), quiet_s=100, patience_s=400)
    world.settle("a")
    world.tick(70)
    world.ask("a")
    world.ask("b")
    world.tick()
    world.finish("a")

    assert not world.tick(40).targets
    world.ask("a")
    world.tick(259)
    world.finish("a")
    assert not world.tick(20).targets
    assert world.tick(5).targets == {"a": 0}, "after 325 s of waiting, 19 s of quiet are enough"


def test_model_is_not_evicted_within_its_residency() -> None:
    world = World(model("a"), model("b"), node_gpus=(1,), quiet_s=0)
    world.settle("a")
    world.ask("b")

    decisions = [world.tick() for _ in range(70)]

    evicted = next(i for i, each in enumerate(decisions) if each.targets)
    assert evicted == pytest.approx(57, abs=1), "60 s after it became ready, three looks before"


def test_big_model_reserves_and_is_not_passed_for_ever() -> None:
    world = World(model("s1"), model("s2"), model("s3"), model("big", tensor_parallel_size=2), node_gpus=(2,))
    world.settle("s1")
    world.settle("s2")
    world.ask("s1")
    world.ask("s2")
    world.ask("big")
    world.tick(31)
    world.ask("s3")
    world.finish("s1")

    for _ in range(20):
        decision = world.tick(10)
        world.gone()
        assert "s3" not in decision.targets, "the small one took what the big one waits for"
    world.finish("s2")
    world.tick(100)
    world.tick(100)
    world.gone()

    assert world.tick().targets["big"] == 1


def test_small_model_may_pass_a_big_one_that_has_just_come() -> None:
    world = World(model("s1"), model("s2"), model("big", tensor_parallel_size=2), node_gpus=(2,))
    world.settle("s1")
    world.ask("s1")
    world.ask("big")
    world.tick()
    world.ask("s2")

    assert world.tick().targets == {"s2": 1}


def test_models_that_wait_are_served_in_the_order_of_their_coming() -> None:
    world = World(model("a"), model("z"), model("b"), node_gpus=(1,))
    world.settle("a")
    world.ask("a")
    world.ask("z")
    world.tick()
    world.ask("b")
    statuses = world.tick().statuses
    assert (statuses["z"].place_in_queue, statuses["b"].place_in_queue) == (1, 2)
    world.finish("a")
    world.tick(100)
    world.tick()
    world.gone()

    assert world.tick().targets == {"z": 1}


def test_tensor_parallel_model_needs_its_gpus_on_one_node() -> None:
    world = World(model("s"), model("big", tensor_parallel_size=2), node_gpus=(1, 1))
    world.ask("big")

    decision = world.tick()

    assert not decision.targets
    assert "no node has 2 GPUs" in decision.reasons[0].words


def test_gpu_is_shared_by_fractions() -> None:
    world = World(*(model(f"m{i}", gpu_share=0.25) for i in range(5)), node_gpus=(1,))
    for name in world.demand:
        world.ask(name)

    assert len(world.tick().targets) == 4


def test_model_without_a_gpu_needs_no_room() -> None:
    world = World(FleetModel(id="cpu"), node_gpus=())
    world.ask("cpu")

    assert world.policy.decide(world.state, world.observation(), 1)[1].targets == {"cpu": 1}


def test_order_that_finds_no_place_is_taken_back() -> None:
    world = World(model("a"), model("b"), node_gpus=(1,))
    world.settle("a")
    world.targets["b"] = 1  # the cluster did as it liked
    world.ask("b")

    decision = world.tick()

    assert decision.targets["b"] == 0
    assert actions(decision)["b"] in (Action.WITHDRAW, Action.WAIT)


def test_model_sleeps_rather_than_goes_while_memory_lasts_and_wakes_on_its_node() -> None:
    sleepy = {"sleep_bytes": 10}
    world = World(model("a", **sleepy), model("b", **sleepy), node_gpus=(1,), host_memory_bytes=15)
    world.settle("a")
    world.tick(100)
    world.ask("b")

    assert world.tick().sleep == ("a",)
    assert world.tick().targets == {"b": 1}
    world.ready("b")
    assert world.tick().statuses["a"].state is ModelState.WARM
    world.finish("b")
    world.tick(100)
    world.ask("a")
    assert world.tick().targets == {"b": 0}, "no memory is left for it to sleep in"
    world.gone()
    assert world.tick().wake == ("a",)
    world.tick(3)
    world.ready("a")
    assert world.tick().statuses["a"].state is ModelState.HOT
    assert world.state.memories["a"].wake_s == pytest.approx(5 + 0.3 * (4 - 5))


def test_model_whose_sleep_frees_no_gpu_is_unloaded_where_another_needs_its_room() -> None:
    sleepy = {"sleep_bytes": 10}
    world = World(
        model("a", **sleepy),
        model("b", **sleepy),
        node_gpus=(1,),
        host_memory_bytes=50,
        sleep_frees_gpus=False,
    )
    world.settle("a")
    world.tick(100)
    world.ask("b")
    decision = world.tick()
    assert (decision.targets, decision.sleep) == ({"a": 0}, ())


def test_sleeping_model_is_unloaded_in_the_end() -> None:
    world = World(model("a", sleep_bytes=10), host_memory_bytes=10)
    world.settle("a")

    assert world.tick(600).sleep == ("a",)
    assert not world.tick(2000).targets
    assert world.tick(1100).targets == {"a": 0}


def test_node_without_the_accelerator_is_of_no_use() -> None:
    world = World(model("a"))
    world.nodes = (Node("n0", "A10", 4),)
    world.ask("a")

    assert not world.tick().targets


def test_stopping_replica_holds_its_gpus_until_it_is_gone() -> None:
    world = World(model("a"), model("b"), node_gpus=(1,))
    world.settle("a")
    world.tick(600)
    assert [each.phase for each in world.replicas.values()] == [Phase.STOPPING]
    world.ask("b")

    decision = world.tick()

    assert not decision.targets
    assert "about to have room" in decision.reasons[0].words


def test_engines_on_the_cpu_have_room_without_a_limit() -> None:
    world = World(*(model(name, accelerator=None) for name in "abc"), node_gpus=(1,))
    for name in "abc":
        world.ask(name)

    assert world.tick().targets == {"a": 1, "b": 1, "c": 1}


def test_engine_on_the_cpu_takes_one_slot_and_an_idle_one_gives_way() -> None:
    world = World(*(model(name, accelerator=None, tensor_parallel_size=2) for name in "abc"), cpu_slots=2)
    world.settle("a")
    world.settle("b")
    world.tick(100)
    world.ask("b")
    world.ask("c")

    assert world.tick().targets == {"a": 0}
    world.gone()
    assert world.tick().targets == {"c": 1}
    assert {replica.node for replica in world.replicas.values()} == {"n0/cpu"}


def test_engines_on_the_cpu_and_on_gpus_do_not_take_each_others_room() -> None:
    world = World(model("gpu"), model("a", accelerator=None), model("b", accelerator=None), cpu_slots=1)
    world.settle("a")
    world.ask("a")
    world.ask("b")
    world.ask("gpu")

    decision = world.tick()

    assert decision.targets == {"gpu": 1}
    assert actions(decision)["b"] is Action.WAIT


def test_engine_on_the_cpu_waits_where_all_slots_are_pinned() -> None:
    world = World(model("hot", accelerator=None, min_replicas=1), model("a", accelerator=None), cpu_slots=1)
    world.tick()
    world.ready()
    world.ask("a")

    decision = world.tick(100)

    assert "a slot for an engine on the CPU" in decision.reasons[-1].words
    assert world.config.by_id["hot"].gpus == model("hot", accelerator=None).gpus


def test_room_that_nobody_can_make_is_a_shortage_after_a_while() -> None:
    wide = model("wide", tensor_parallel_size=4)
    world = World(model("a", max_replicas=3), wide, node_gpus=(1,), machines_after_s=10)
    world.settle("a")
    world.ask("wide")
    assert world.tick().shortages == ()
    assert world.tick(9.0).shortages == ()
    world.ask("a", 100)
    assert world.tick(2.0).shortages == (Shortage("A100", Footprint(4)),)
    world.tick(10.0)
    found = world.tick(10.0).shortages
    assert sorted(found, key=str) == sorted(
        [Shortage("A100", Footprint(4)), *[Shortage("A100", Footprint(1))] * 2], key=str
    ), "further replicas wait too"


def test_room_that_is_being_made_is_no_shortage() -> None:
    world = World(model("a"), model("b"), node_gpus=(1,), machines_after_s=0)
    world.settle("a")
    world.tick(100)
    world.ask("b")
    decision = world.tick()
    assert actions(decision)["a"] is Action.EVICT
    assert decision.shortages == ()
    assert world.tick().shortages == ()


def test_engines_on_the_cpu_ask_for_no_machine() -> None:
    world = World(
        model("a", accelerator=None, min_replicas=1),
        model("b", accelerator=None),
        cpu_slots=1,
        machines_after_s=0,
    )
    world.settle("a")
    world.ask("b")
    decision = world.tick(50)
    assert actions(decision)["b"] is Action.WAIT
    assert decision.shortages == ()
