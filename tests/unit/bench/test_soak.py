"""Growth of memory is judged against the second look."""

from __future__ import annotations

import pytest

from bench.soak import growth


def test_growth_is_measured_from_the_second_step() -> None:
    steps = [{"ingress": float(size), "replica": 100.0} for size in (50, 100, 105, 110)]

    assert growth(steps) == pytest.approx({"ingress": 0.1, "replica": 0.0})


def test_kinds_that_are_no_part_of_a_requests_way_do_not_count() -> None:
    assert growth([{"haproxy": 10.0, "ray": 1.0}, {"haproxy": 10.0, "ray": 9.0}]) == {"haproxy": 0.0}
