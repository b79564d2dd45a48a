"""How long an idle model is kept."""

from __future__ import annotations

import pytest

from deployments.fleet.idleness import worth_keeping_s


@pytest.mark.parametrize(("load_cost", "kept_s"), [(100, 100), (10, 60), (5000, 600)])
def test_idling_may_cost_as_much_as_a_load_until_enough_is_known(load_cost: float, kept_s: float) -> None:
    assert worth_keeping_s([70] * 7, load_cost, 60, 600) == kept_s


def test_pauses_that_mostly_end_soon_are_waited_for() -> None:
    assert worth_keeping_s([200] * 30 + [5000] * 3, 200, 60, 600) == pytest.approx(220)


def test_pauses_that_never_end_soon_are_not() -> None:
    assert worth_keeping_s([5000] * 20, 200, 60, 600) == 60


def test_dear_load_is_worth_a_longer_wait() -> None:
    pauses = [100] * 10 + [550] * 10
    assert worth_keeping_s(pauses, 50, 60, 600) < worth_keeping_s(pauses, 5000, 60, 600) == 600
