"""Replicas for a load, and what users then get."""

from __future__ import annotations

import pytest

from cluster.plan.requirements import Load, Objective
from cluster.plan.roofline import Efficiency
from cluster.plan.sizing import Service, Sizing, size, together
from tests.unit.cluster.plan.loads import placed


def sized(
    name: str, gpu: str, tensor_parallel_size: int, objective: Objective | None = None, **load: float
) -> Sizing:
    wanted = Load.model_validate(load)
    one = placed(name, gpu, tensor_parallel_size, wanted)
    result = size(one, wanted, objective or Objective(), Efficiency())
    assert isinstance(result, Sizing), result
    return result


def service(one: Sizing) -> Service:
    assert one.service is not None
    return one.service


def test_room_for_long_requests_decides_without_a_rate() -> None:
    one = sized("qwen2.5-7b", "A10", 1, concurrent=40)
    room = one.placement.slots(8192)
    assert one.replicas == -(-40 // room)
    assert (one.replicas - 1) * room < 40


def test_a_rate_takes_as_many_replicas_as_keep_the_objective() -> None:
    objective = Objective()
    one = sized("qwen2.5-7b", "A10", 1, objective, requests_per_second=20)
    assert one.capacity_per_s is not None
    assert service(one).utilization <= objective.max_utilization
    assert service(one).first_token_quantile_s <= (objective.first_token_s or 0)
    assert 20 / (one.capacity_per_s * one.replicas) == pytest.approx(service(one).utilization)
    # One fewer would be too busy, or too late.
    assert 20 / (one.capacity_per_s * (one.replicas - 1)) > objective.max_utilization


def test_a_harder_objective_takes_more_replicas() -> None:
    soft = sized("qwen2.5-72b-gptq-int4", "A10", 4, Objective(first_token_s=10), requests_per_second=4)
    hard = sized("qwen2.5-72b-gptq-int4", "A10", 4, Objective(first_token_s=1.75), requests_per_second=4)
    fast = sized(
        "qwen2.5-72b-gptq-int4",
        "A10",
        4,
        Objective(first_token_s=None, tokens_per_second=30),
        requests_per_second=4,
    )
    assert soft.replicas < hard.replicas
    assert service(fast).tokens_per_second >= 30
    assert fast.replicas > soft.replicas


def test_an_objective_out_of_reach_says_so() -> None:
    load = Load(requests_per_second=0.1)
    one = placed("qwen2.5-72b-gptq-int4", "A10", 4, load)
    reason = size(one, load, Objective(first_token_s=0.1), Efficiency())
    assert isinstance(reason, str)
    assert reason.startswith("even without other requests the first token takes ")


def test_running_requests_are_arrivals_times_their_stay() -> None:
    """Little's law, on what the sizing itself reports."""
    one = sized("qwen2.5-7b", "A10", 1, requests_per_second=6, output_tokens=300, prompt_tokens=800)
    stay = 300 / service(one).tokens_per_second
    reading = service(one).batch / (6 / one.replicas) - stay
    assert 0 < reading < service(one).first_token_s + 1e-9


def test_models_that_write_nothing_only_read() -> None:
    one = sized("qwen3-embedding-0.6b", "A10", 1, requests_per_second=20)
    assert one.single_tokens_per_second == 0
    assert service(one).tokens_per_second == 0
    assert one.capacity_per_s == pytest.approx((one.prefill_tokens_per_second or 0) / 800)


def test_unknown_speed_gives_room_but_no_rate() -> None:
    one = sized("qwen2.5-72b-gptq-int4", "Ascend-910B", 2, concurrent=32)
    assert (one.service, one.capacity_per_s) == (None, None)
    assert one.replicas >= 1
    load = Load(requests_per_second=1)
    reason = size(placed("qwen2.5-7b", "Ascend-910B", 1, load), load, Objective(), Efficiency())
    assert reason == "nothing is known of the speed of Ascend-910B; ask for --concurrent instead"


def test_so_many_replicas_at_work() -> None:
    load = Load(context_tokens=8192)
    one = placed("qwen2.5-7b", "A10", 1, load)
    few, many = (together(one, load, 2, running, Objective(), Efficiency()) for running in (1, 32))
    assert few.replicas == many.replicas == 2
    assert service(few).tokens_per_second > service(many).tokens_per_second
    assert service(few).tokens_per_second == pytest.approx(few.single_tokens_per_second)
