"""What is too much."""

from __future__ import annotations

from typing import Any

import pytest

from quantize.evaluation import Loss

FIGURES: dict[str, Any] = {
    "file": "evaluation.jsonl",
    "sha256": "0" * 64,
    "tokens": 4000,
    "perplexity_reference": 8.0,
    "perplexity_candidate": 8.08,
    "next_token_agreement": 0.97,
    "top_tokens": 256,
    "kl_divergence_mean": 0.004,
    "kl_divergence_p99": 0.05,
    "questions": 40,
    "right_reference": 40,
    "right_candidate": 40,
    "same_answers": 38,
}


def test_loss_within_what_is_allowed_passes() -> None:
    loss = Loss(**FIGURES)
    assert loss.perplexity_loss == pytest.approx(0.01)
    assert loss.excess(0.02) is None


def test_perplexity_above_it_fails() -> None:
    excess = Loss(**FIGURES).excess(0.005)
    assert excess is not None
    assert "perplexity is 1.00% above" in excess
    assert "0.50% are allowed" in excess


def test_better_perplexity_passes_when_nothing_may_be_lost() -> None:
    assert Loss(**{**FIGURES, "perplexity_candidate": 7.9}).excess(0) is None


@pytest.mark.parametrize(("right", "passes"), [(40, True), (39, False), (30, False)])
def test_lost_answers_fail(right: int, passes: bool) -> None:
    excess = Loss(**{**FIGURES, "right_candidate": right}).excess(0.02)
    assert (excess is None) == passes


def test_answers_that_were_wrong_before_are_no_loss() -> None:
    loss = Loss(**{**FIGURES, "right_reference": 0, "right_candidate": 0})
    assert loss.answer_loss == 0
    assert loss.excess(0.02) is None


def test_more_right_answers_are_no_negative_loss() -> None:
    assert Loss(**{**FIGURES, "right_reference": 30}).answer_loss == 0
