"""How long an answer is taken to be."""

from __future__ import annotations

import sys

import pytest

from serve_app.limits.config import EstimateConfig
from serve_app.limits.estimate import Estimator, Histogram
from tests.unit.serve_app.limits import simulation


def _learn(estimator: Estimator, user: str, tokens: int, times: int = 20) -> None:
    for _ in range(times):
        estimator.learn("big", "lab", user, tokens)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_quantile_covers_its_share_and_hardly_more(share: float) -> None:
    rng = simulation.seeded(1)
    lengths = sorted(round(rng.lognormvariate(5, 1)) for _ in range(200))
    histogram = Histogram()
    for length in lengths:
        histogram.add(length)
    exact = lengths[int(share * 200) - 1]
    assert exact <= histogram.quantile(share) <= exact * 1.2 + 1


def test_nothing_known_is_the_default_then_the_model_then_the_user() -> None:
    estimator = Estimator(EstimateConfig())
    assert estimator.estimate("big", "lab", "alice", 10_000) == 512
    _learn(estimator, "bob", 1000)
    assert 1000 <= estimator.estimate("big", "lab", "alice", 10_000) <= 1200
    _learn(estimator, "alice", 20)
    assert 20 <= estimator.estimate("big", "lab", "alice", 10_000) <= 24
    assert estimator.estimate("small", "lab", "alice", 10_000) == 512
    assert estimator.estimate("big", "office", "alice", 10_000) >= 20


def test_estimate_is_never_above_what_was_asked_for() -> None:
    estimator = Estimator(EstimateConfig())
    assert estimator.estimate("big", "lab", "alice", 7) == 7
    assert estimator.estimate("big", "lab", "alice", 0) == 0
    _learn(estimator, "alice", 5000)
    assert estimator.estimate("big", "lab", "alice", 7) == 7


def test_older_answers_fade() -> None:
    estimator = Estimator(EstimateConfig())
    _learn(estimator, "alice", 4000, 1000)
    _learn(estimator, "alice", 30, 4000)
    assert estimator.estimate("big", "lab", "alice", 10_000) < 40


def test_memory_is_bounded_and_the_least_recent_user_is_forgotten() -> None:
    estimator = Estimator(EstimateConfig(max_users=3))
    for user in ("a", "b", "c", "a", "d"):
        _learn(estimator, user, {"a": 10, "b": 20, "c": 40, "d": 80}[user])
    assert estimator.estimate("big", "lab", "a", 10_000) < 15
    # Of b the model's answers speak, of which one in five has eighty tokens.
    assert estimator.estimate("big", "lab", "b", 10_000) >= 80
    assert sys.getsizeof(Histogram()._bins) < 200


@pytest.mark.parametrize("tokens", [0, 1, 2_000_000, 10**9])
def test_any_length_can_be_learned(tokens: int) -> None:
    histogram = Histogram()
    histogram.add(tokens)
    assert histogram.quantile(0.9) >= min(tokens, 1_000_000)
