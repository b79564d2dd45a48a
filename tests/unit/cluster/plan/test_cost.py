"""Machines and money."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.plan import cost, subject, tables
from cluster.plan.cost import Fleet
from cluster.plan.requirements import Assumptions, Load


@pytest.mark.parametrize(
    ("sizes", "machines"),
    [([4], 1), ([2, 2], 1), ([1, 4], 2), ([1, 2, 1, 4], 2), ([2, 2, 2], 2), ([], 0), ([1] * 9, 3)],
)
def test_replicas_stay_on_one_machine_and_fill_it(sizes: list[int], machines: int) -> None:
    assert cost.fleet(tables.gpu("A10"), 4, sizes) == Fleet(
        tables.gpu("A10"), machines, sum(sizes), sum(sizes)
    )


def test_sxm_boards_are_bought_whole() -> None:
    assert cost.fleet(tables.gpu("H100"), 8, [2]) == Fleet(tables.gpu("H100"), 1, 8, 2)


@given(st.lists(st.sampled_from([1, 2, 4]), max_size=7), st.sampled_from([4, 6, 8]))
@settings(max_examples=150, deadline=None)
def test_no_other_arrangement_takes_fewer_machines(sizes: list[int], slots: int) -> None:
    machines = cost.fleet(tables.gpu("A10"), slots, sizes).machines
    assert not fits(sizes, slots, machines - 1)
    assert fits(sizes, slots, machines)


def fits(sizes: list[int], slots: int, machines: int) -> bool:
    """By trying everything: each piece on each machine."""
    if machines <= 0:
        return machines == 0 and not sizes
    states = {(0,) * machines}
    for size in sizes:
        states = {
            tuple(sorted([*state[:index], state[index] + size, *state[index + 1 :]]))
            for state, index in itertools.product(states, range(machines))
            if state[index] + size <= slots
        }
    return bool(states)


def test_bill_by_hand() -> None:
    given_ = Assumptions()
    a10 = tables.gpu("A10")
    bill = cost.bill([Fleet(a10, 1, 4, 4)], given_)
    assert bill.purchase == pytest.approx((4 * 2800 + 9000) * 7.1)
    kilowatts = (4 * 150 + 500) / 1000 * 0.7 * 1.4
    assert bill.power_per_month == pytest.approx(kilowatts * 730.5 * 0.8)
    assert bill.upkeep_per_month == pytest.approx(bill.purchase * 0.05 / 12)
    assert bill.per_month == pytest.approx(bill.purchase / 36 + bill.power_per_month + bill.upkeep_per_month)
    assert bill.total == pytest.approx(36 * bill.per_month)


@pytest.mark.parametrize(
    ("model", "public"),
    [
        ("qwen2.5-72b", "qwen-max"),
        ("qwen2.5-32b", "qwen-plus"),
        ("qwen2.5-7b", "qwen-turbo"),
        ("qwen2-vl-7b", "qwen-vl-max"),
        ("qwen3-embedding-0.6b", "text-embedding-v4"),
    ],
)
def test_models_are_compared_with_what_they_stand_in_for(model: str, public: str) -> None:
    price = cost.public_price(subject.find(model))
    assert price is not None
    assert price.name == public


def test_nothing_is_known_of_rerankers() -> None:
    assert cost.compare(subject.find("qwen3-reranker-4b"), Load(), Assumptions()) is None


def test_public_api_by_hand() -> None:
    load = Load(requests_per_second=2, prompt_tokens=800, output_tokens=300)
    one = cost.compare(subject.find("qwen2.5-72b"), load, Assumptions())
    assert one is not None
    requests = 2 * 0.3 * 730.5 * 3600
    assert one.cny_per_month == pytest.approx(requests * (800 * 2.4 + 300 * 9.6) / 1e6)
    assert one.million_tokens_per_month == pytest.approx(requests * 1100 / 1e6)


def test_break_even_is_where_both_cost_the_same() -> None:
    load = Load(requests_per_second=2)
    one = cost.compare(subject.find("qwen2.5-72b"), load, Assumptions())
    assert one is not None
    volume = cost.break_even_million_tokens(12_000, [one])
    assert volume is not None
    assert volume * one.cny_per_million == pytest.approx(12_000)
    assert cost.break_even_million_tokens(12_000, []) is None
