"""How long an idle model is kept."""

from __future__ import annotations

import pytest

from deployments.fleet.idleness import worth_keeping_s


def test_longest_time_holds_until_enough_is_known() -> None:
    assert worth_keeping_s([70] * 7, 100, 60, 600) == 600


def test_pauses_that_mostly_end_soon_are_waited_for() -> None:
    assert worth_keeping_s([200] * 30 + [5000] * 3, 200, 60, 600) == pytest.approx(220)


def test_pauses_that_never_end_soon_are_not() -> None:
    assert worth_keeping_s([5000] * 20, 200, 60, 600) == 60


def test_dear_load_is_worth_a_longer_wait() -> None:
    pauses = [100] * 10 + [550] * 10
    assert worth_keeping_s(pauses, 50, 60, 600) < worth_keeping_s(pauses, 5000, 60, 600) == 600
