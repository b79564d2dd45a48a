"""Quantiles by nearest rank."""

from __future__ import annotations

from bench.quantile import quantile


def test_median_of_two_is_the_lower() -> None:
    assert quantile([3.0, 1.0], 0.5) == 1.0


def test_99th_percentile_of_a_hundred_leaves_one_above() -> None:
    assert quantile(list(range(100, 0, -1)), 0.99) == 99


def test_99th_percentile_of_few_is_the_greatest() -> None:
    assert quantile([5.0, 7.0, 6.0], 0.99) == 7.0


def test_nothing_measured_is_zero() -> None:
    assert quantile([], 0.5) == 0.0
