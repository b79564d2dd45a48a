"""How far two models' predictions are apart, from what engines say of the same tokens. Pure arithmetic."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantize.evaluation.job import Scores

_LEAST: Final = 1e-7
"""Of what is left of a distribution: smaller is rounding of single precision."""

_MARKS: Final = " \t\n.,;:!?。，；：！？\"'`“”‘’「」"
"""What may stand around an answer without changing it."""


def perplexity(logprobs: NDArray[np.float32]) -> float:
    """``exp`` of the mean negative log likelihood.

    Args:
        logprobs: Of the tokens that stand there, ``[tokens]``, nats; at least one.
    """
    return float(np.exp(-np.mean(logprobs, dtype=np.float64)))


def agreement(reference: Scores, candidate: Scores) -> float:
    """Share of positions at which both find the same token likeliest, 0 to 1."""
    return float(np.mean(reference.token_ids[:, 0] == candidate.token_ids[:, 0]))


def divergences(reference: Scores, candidate: Scores) -> NDArray[np.float64]:
    """KL divergence of the candidate from the reference at each position, ``[tokens]``, nats.

    Exact where both scores hold the whole vocabulary. Otherwise the tokens that are among the likeliest of
    both stand for themselves and all the rest is taken as one: by the data-processing inequality this is
    never more than the true divergence. What it misses happens among tokens that are unlikely to one of them.
    """
    rows = zip(reference.token_ids, reference.logprobs, candidate.token_ids, candidate.logprobs, strict=True)
    complete = reference.complete and candidate.complete
    found = [_divergence(p_ids, p, q_ids, q, complete=complete) for p_ids, p, q_ids, q in rows]
    return np.array(found, np.float64)


def is_right(answer: str, expected: str) -> bool:
    """Whether an answer is the expected one, but for case, width, and marks around it."""
    return _bare(answer) == _bare(expected)


def count_right(answers: Iterable[str], expected: Iterable[str]) -> int:
    """How many answers are right."""
    return sum(is_right(answer, right) for answer, right in zip(answers, expected, strict=True))


def _divergence(
    p_ids: NDArray[np.int32],
    p_logs: NDArray[np.float32],
    q_ids: NDArray[np.int32],
    q_logs: NDArray[np.float32],
    *,
    complete: bool,
) -> float:
    _, in_p, in_q = np.intersect1d(p_ids, q_ids, assume_unique=True, return_indices=True)
    p, q = p_logs[in_p].astype(np.float64), q_logs[in_q].astype(np.float64)
    total = float(np.sum(np.exp(p) * (p - q)))
    if not complete:
        p_rest, q_rest = (max(_LEAST, 1.0 - float(np.sum(np.exp(logs)))) for logs in (p, q))
        total += p_rest * float(np.log(p_rest / q_rest))
    # It is never negative; rounding may say so.
    return max(0.0, total)


def _bare(answer: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", answer).casefold().split()).strip(_MARKS)
