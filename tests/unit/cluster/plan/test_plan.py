"""Whole plans, and what must hold for any of them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.plan import plan, subject, tables
from cluster.plan.failure import PlanFailed
from cluster.plan.placement import Placement, placements
from cluster.plan.plan import Plan
from cluster.plan.requirements import Load
from deployments import memory, split
from tests.unit.cluster.plan.loads import requirements

MODELS = (
    *(
        "qwen2.5-0.5b",
        "qwen2.5-1.5b",
        "qwen2.5-3b",
        "qwen2.5-7b",
        "qwen2.5-14b",
        "qwen2.5-32b",
        "qwen2.5-72b",
    ),
    *("qwen3-8b", "qwen3-32b", "qwen2-vl-7b", "qwen2-vl-72b", "qwen2.5-vl-7b", "qwen3-embedding-0.6b"),
)
GPUS = tuple(name for name, row in tables.gpus().items() if row.has_speed)

models = st.sampled_from(MODELS)
gpus = st.sampled_from(GPUS)
loads = st.fixed_dictionaries(
    {
        "requests_per_second": st.floats(0.01, 60),
        "prompt_tokens": st.integers(1, 3000),
        "output_tokens": st.integers(0, 1500),
        "variation": st.floats(0, 2),
    }
)
quietly = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def made(*wanted: dict[str, Any], **given_: Any) -> Plan | None:
    """A plan; none where nothing fits."""
    try:
        return plan.make(requirements(*wanted, **given_))
    except PlanFailed as error:
        assert "fits nowhere" in str(error)  # noqa: PT017  (nothing else may go wrong)
        return None


def total(one: Plan) -> float:
    assert one.mix.bill is not None
    return one.mix.bill.total


@given(name=models, gpu=gpus, quantization=st.sampled_from(["none", "gptq-int4"]))
@quietly
def test_more_gpus_never_fit_less(name: str, gpu: str, quantization: subject.Quantization) -> None:
    found = [
        one
        for one in placements(subject.find(name, quantization), tables.gpu(gpu), 8, Load(context_tokens=16))
        if isinstance(one, Placement)
    ]
    for fewer, more in pairwise(found):
        assert more.kv_tokens >= fewer.kv_tokens
        assert more.longest_context >= fewer.longest_context
        assert more.memory.weights_bytes < fewer.memory.weights_bytes


@given(name=models, gpu=gpus, load=loads, more=st.floats(1, 5))
@quietly
def test_cost_grows_with_load_on_one_gpu(name: str, gpu: str, load: dict[str, Any], more: float) -> None:
    wanted = {"name": name, "gpu": gpu, **load}
    little = made(wanted)
    much = made({**wanted, "requests_per_second": load["requests_per_second"] * more})
    if little is None:
        assert much is None
    elif much is not None:
        assert total(much) >= total(little)
        assert much.mix.choices[0].gpus >= 0


@given(first=models, second=models, load=loads, more=st.floats(1, 3))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_cost_of_a_mix_grows_with_load(first: str, second: str, load: dict[str, Any], more: float) -> None:
    if first == second:
        return
    wanted = [{"name": first, **load}, {"name": second, **load}]
    little = made(*wanted)
    much = made(*[{**one, "requests_per_second": one["requests_per_second"] * more} for one in wanted])
    if little is not None and much is not None and little.mix.exact and much.mix.exact:
        assert total(much) >= total(little) * (1 - 1e-12)


@given(name=models, load=loads, gpu=st.one_of(st.none(), gpus))
@quietly
def test_a_placement_is_always_feasible(name: str, load: dict[str, Any], gpu: str | None) -> None:
    one = made({"name": name, "gpu": gpu, **load})
    if one is None:
        return
    (choice,) = one.mix.choices
    placed = choice.placement
    form, size = placed.form.architecture, placed.size
    assert split.obstacle(form, size) is None
    if placed.form.quantization == "gptq-int4":
        assert split.cut_groups(form, size, placed.form.group_size) == []
    assert size <= one.requirements.slots(placed.gpu)
    assert placed.memory.fits(placed.gpu.memory_bytes, placed.context_tokens)
    used = placed.memory.fixed_bytes - placed.memory.context_bytes
    used += placed.kv_tokens * placed.memory.kv_bytes_per_token
    assert used <= placed.gpu.memory_bytes * memory.UTILIZATION
    (fleet,) = one.mix.fleets
    assert fleet.used == choice.gpus <= fleet.bought <= fleet.machines * one.requirements.slots(placed.gpu)
    assert choice.service is not None
    assert choice.service.utilization <= one.requirements.objective.max_utilization


@given(name=models, gpu=gpus, load=loads)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_int4_never_needs_more_gpus_than_bf16(name: str, gpu: str, load: dict[str, Any]) -> None:
    fewest = {}
    for quantization in ("none", "gptq-int4"):
        wanted = {"name": name, "gpu": gpu, "quantization": quantization, **load}
        try:
            options = plan.options(requirements(wanted).models[0], requirements(wanted))
        except PlanFailed:
            continue
        fewest[quantization] = min(one.gpus for one in options)
    if "none" in fewest:
        assert fewest["gptq-int4"] <= fewest["none"]


def test_four_a10_hold_the_72b_that_took_two_a100() -> None:
    packed = made({"name": "qwen2.5-72b", "gpu": "A10", "quantization": "gptq-int4", "concurrent": 4})
    plain = made({"name": "qwen2.5-72b", "gpu": "A100-80G", "quantization": "none", "concurrent": 1})
    assert packed is not None
    assert plain is not None
    assert packed.mix.choices[0].gpus == 4
    assert plain.mix.choices[0].gpus == 2
    assert packed.mix.choices[0].placement.kv_tokens > plain.mix.choices[0].placement.kv_tokens


def test_what_fits_nowhere_says_why_and_what_would() -> None:
    with pytest.raises(PlanFailed) as caught:
        plan.make(requirements({"name": "qwen2.5-72b", "gpu": "A10", "quantization": "none"}))
    message = str(caught.value)
    assert "\n" not in message
    assert "bf16 on 4 x A10: each GPU would hold 34.0 GiB of weights" in message
    assert "What would do: INT4 on 4 x A10" in message


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"context_tokens": 99_999}, "99,999 tokens of context are more than the model's 32,768"),
        ({"gpu": "Ascend-910B", "requests_per_second": 1}, "nothing is known of the speed of Ascend-910B"),
        ({"context_tokens": 1000, "requests_per_second": 1}, "is longer than the context of 1,000"),
        ({"gpu": "B300"}, "no GPU 'B300' in the table"),
    ],
)
def test_what_nothing_could_mend_is_told_in_a_line(wanted: dict[str, Any], told: str) -> None:
    with pytest.raises(PlanFailed, match=told):
        plan.make(requirements({"name": "qwen2.5-7b", **wanted}))


def test_whichever_form_costs_less_is_taken() -> None:
    free = made({"name": "qwen2.5-72b", "requests_per_second": 1.0})
    fixed = [
        made({"name": "qwen2.5-72b", "requests_per_second": 1.0, "quantization": quantization})
        for quantization in ("none", "gptq-int4")
    ]
    assert free is not None
    assert total(free) == min(total(one) for one in fixed if one is not None)


def test_more_of_the_same_is_planned_anew() -> None:
    one = made({"name": "qwen2.5-7b", "requests_per_second": 5.0})
    assert one is not None
    double = plan.scaled(one, 2)
    assert double.requirements.models[0].requests_per_second == 10
    assert total(double) >= total(one)
