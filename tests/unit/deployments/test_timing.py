"""Where the time of a call goes inside its replica."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deployments.timing import Stopwatch, Timing


class Clock:
    """Ticks as told."""

    def __init__(self, *readings: float) -> None:
        self._readings: Iterator[float] = iter(readings)

    def __call__(self) -> float:
        return next(self._readings)


def test_engine_that_says_nothing_is_timed_from_outside() -> None:
    watch = Stopwatch(Clock(10.0, 10.5, 12.0))
    watch.mark_token()
    watch.mark_token()  # reads no clock

    assert watch.timing(None) == Timing(0.5, 2.0)


def test_answer_without_a_first_token_takes_its_whole_time() -> None:
    assert Stopwatch(Clock(10.0, 12.0)).timing({}) == Timing(2.0, 2.0)


def test_engines_own_metrics_go_before_the_watch() -> None:
    metrics = {"time_to_first_token_ms": 20.0, "generation_time_ms": 30.0, "queue_time_ms": None}
    assert Stopwatch(Clock(0.0, 9.0)).timing(metrics) == Timing(0.02, 0.05)


def test_queue_counts_towards_both_spans() -> None:
    timing = Timing(first_token_s=0.02, engine_s=0.05, queue_s=0.3)
    assert (timing.before_first_token_s, timing.total_s) == pytest.approx((0.32, 0.35))
