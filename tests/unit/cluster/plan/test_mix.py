"""The cheapest mix, against trying everything."""

from __future__ import annotations

import itertools

import pytest

from cluster.plan import mix, subject
from cluster.plan.cost import bill
from cluster.plan.placement import Placement, placements
from cluster.plan.requirements import Assumptions, Load, Objective
from cluster.plan.roofline import Efficiency
from cluster.plan.sizing import Sizing, size

GIVEN = Assumptions()


def options(name: str, gpus: list[str], **load: float) -> list[Sizing]:
    wanted, found = Load.model_validate(load), []
    for gpu in map(GIVEN.gpu, gpus):
        for one in placements(subject.find(name), gpu, GIVEN.slots(gpu), wanted):
            sized = size(one, wanted, Objective(), Efficiency()) if isinstance(one, Placement) else None
            if isinstance(sized, Sizing):
                found.append(sized)
    return found


@pytest.mark.parametrize("rate", [0.5, 4, 20])
def test_nothing_costs_less(rate: float) -> None:
    gpus = ["A10", "L20", "A100-80G", "H100"]
    all_options = [
        options("qwen2.5-72b-gptq-int4", gpus, requests_per_second=rate),
        options("qwen2.5-7b", gpus, requests_per_second=3 * rate),
        options("qwen3-embedding-0.6b", gpus, requests_per_second=5 * rate),
    ]
    chosen = mix.cheapest(all_options, GIVEN)
    totals = [bill(mix.fleets_of(one, GIVEN), GIVEN).total for one in itertools.product(*all_options)]
    assert chosen.exact
    assert chosen.bill is not None
    assert chosen.bill.total == pytest.approx(min(totals))


def test_models_share_machines() -> None:
    """Apart, each would take a machine of its own."""
    choices = [
        options("qwen3-embedding-0.6b", ["A10"], requests_per_second=1),
        options("qwen2.5-7b", ["A10"]),
    ]
    (fleet,) = mix.cheapest(choices, GIVEN).fleets
    assert (fleet.machines, fleet.used) == (1, 2)


def test_without_prices_the_fewest_gpus_are_taken() -> None:
    chosen = mix.fewest([options("qwen2.5-72b-gptq-int4", ["Ascend-910B"], concurrent=20)], GIVEN)
    assert chosen.bill is None
    assert chosen.choices[0].gpus == min(
        one.gpus for one in options("qwen2.5-72b-gptq-int4", ["Ascend-910B"], concurrent=20)
    )


def test_twenty_models_are_mixed_within_a_moment() -> None:
    one = options("qwen2.5-7b", ["A10", "L20", "A100-80G", "H100", "H200"], requests_per_second=7)
    two = options("qwen2.5-32b", ["A10", "L20", "A100-80G", "H100", "H200"], requests_per_second=3)
    chosen = mix.cheapest([one, two] * 10, GIVEN)
    assert len(chosen.choices) == 20
    assert chosen.bill is not None
