"""The figures: by hand, and what must hold for any two distributions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quantize.evaluation import figures
from quantize.evaluation.job import Scores

_VOCABULARY = 12


def _scores(*distributions: NDArray[np.float64], likeliest: int | None = None, actual: Any = None) -> Scores:
    """What an engine says of so many positions, of which it keeps the likeliest tokens."""
    count = likeliest or distributions[0].size
    order = [np.argsort(-one, kind="stable")[:count] for one in distributions]
    return Scores(
        np.array(actual if actual is not None else [math.log(one[0]) for one in distributions], np.float32),
        np.stack(order).astype(np.int32),
        np.stack([np.log(one[ids]) for one, ids in zip(distributions, order, strict=True)]).astype(
            np.float32
        ),
        likeliest is None,
        (),
    )


@st.composite
def _distribution(draw: st.DrawFn) -> NDArray[np.float64]:
    logits = draw(st.lists(st.floats(-8, 8), min_size=_VOCABULARY, max_size=_VOCABULARY))
    weights = np.exp(np.array(logits))
    return np.asarray(weights / weights.sum())


def _exact(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    return float(np.sum(p * np.log(p / q)))


def test_perplexity_of_equal_chances_is_their_number() -> None:
    assert figures.perplexity(np.log(np.full(7, 0.25, np.float32))) == pytest.approx(4)


def test_perplexity_is_the_inverse_geometric_mean() -> None:
    logprobs = np.log(np.array([0.5, 0.125], np.float32))
    assert figures.perplexity(logprobs) == pytest.approx(1 / math.sqrt(0.5 * 0.125))


def test_agreement_counts_positions_with_the_same_likeliest_token() -> None:
    first, second = np.array([0.6, 0.3, 0.1]), np.array([0.3, 0.6, 0.1])
    assert figures.agreement(_scores(first, first, second), _scores(first, second, second)) == pytest.approx(
        2 / 3
    )


def test_divergence_by_hand() -> None:
    p, q = np.array([0.5, 0.5]), np.array([0.75, 0.25])
    expected = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert figures.divergences(_scores(p), _scores(q)) == pytest.approx([expected], rel=1e-6)


def test_divergence_with_a_rest_by_hand() -> None:
    """Tokens 0 and 1 are among the two likeliest of both; 2 and 3 are taken as one."""
    p, q = np.array([0.5, 0.3, 0.15, 0.05]), np.array([0.3, 0.4, 0.1, 0.2])
    expected = 0.5 * math.log(0.5 / 0.3) + 0.3 * math.log(0.3 / 0.4) + 0.2 * math.log(0.2 / 0.3)
    found = figures.divergences(_scores(p, likeliest=2), _scores(q, likeliest=2))
    assert found == pytest.approx([expected], rel=1e-5)
    assert found[0] < _exact(p, q)


def test_token_that_only_one_finds_likely_is_a_part_of_the_rest() -> None:
    p, q = np.array([0.7, 0.2, 0.06, 0.04]), np.array([0.7, 0.04, 0.06, 0.2])
    found = figures.divergences(_scores(p, likeliest=2), _scores(q, likeliest=2))
    assert found == pytest.approx([0], abs=1e-6)


@given(_distribution(), _distribution())
def test_whole_vocabulary_is_exact(p: NDArray[np.float64], q: NDArray[np.float64]) -> None:
    found = figures.divergences(_scores(p), _scores(q))
    assert found == pytest.approx([_exact(p, q)], rel=1e-4, abs=2e-6)


@settings(max_examples=300)
@given(_distribution(), _distribution(), st.integers(1, _VOCABULARY - 1))
def test_likeliest_tokens_never_exceed_the_truth(
    p: NDArray[np.float64], q: NDArray[np.float64], likeliest: int
) -> None:
    (found,) = figures.divergences(_scores(p, likeliest=likeliest), _scores(q, likeliest=likeliest))
    assert 0 <= found <= _exact(p, q) + 1e-5


@given(_distribution(), st.one_of(st.none(), st.integers(1, _VOCABULARY - 1)))
def test_nothing_diverges_from_itself(p: NDArray[np.float64], likeliest: int | None) -> None:
    scores = _scores(p, p, likeliest=likeliest)
    assert figures.divergences(scores, scores).tolist() == [0, 0]
    assert figures.agreement(scores, scores) == 1


def test_small_divergence_is_not_lost_in_the_rounding_of_the_sum() -> None:
    """Single precision leaves a rest of about 1e-7 of a whole distribution, which must not count."""
    p = np.full(2048, 1 / 2048)
    q = p * (1 + 1e-3 * np.where(np.arange(2048) % 2, 1, -1))
    (found,) = figures.divergences(_scores(p), _scores(q))
    assert found == pytest.approx(_exact(p, q), abs=2e-7)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("43", "43"),
        (" 43.\n", "43"),
        ("Paris!", "paris"),
        ("“罗马”。", "罗马"),
        ("Ｈ２Ｏ", "H2O"),
        ("A  b", "a b"),
    ],
)
def test_marks_case_and_width_do_not_make_another_answer(answer: str, expected: str) -> None:
    assert figures.is_right(answer, expected)


@pytest.mark.parametrize(
    ("answer", "expected"), [("43.5", "43"), ("The answer is 43", "43"), ("", "43"), ("-4", "4")]
)
def test_other_words_make_another_answer(answer: str, expected: str) -> None:
    assert not figures.is_right(answer, expected)
