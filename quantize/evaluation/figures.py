"""How far one checkpoint's predictions are from another's: pure arithmetic on what the engine reports."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_SMALLEST = 1e-12
"""Probability below which the rest of a distribution counts as nothing."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a checkpoint says of the next token, at every position that counts.

    Attributes:
        chosen: ``[positions]``: log probability of the token that is there.
        ids: ``[positions, K]``: the likeliest tokens, the likeliest first.
        logprobs: ``[positions, K]``: their log probabilities.
    """

    chosen: Floats
    ids: Integers
    logprobs: Floats


def perplexity(predictions: Predictions) -> float:
    """``exp`` of the mean negative log probability."""
    return float(np.exp(-predictions.chosen.mean()))


def agreement(reference: Predictions, candidate: Predictions) -> float:
    """Share of positions at which both find the same token likeliest, 0 to 1."""
    return float((reference.ids[:, 0] == candidate.ids[:, 0]).mean())


def divergence(reference: Predictions, candidate: Predictions) -> Floats:
    """Kullback-Leibler divergence of the candidate from the reference, ``[positions]``, in nats.

    Over the tokens that are among the K likeliest of both, all others taken as one. Taking outcomes
    together never makes the divergence larger (data-processing inequality), so this is a lower bound of
    the whole vocabulary's; with K as large as the vocabulary it is exact.
    """
    return np.array(
        [
            _divergence(*row)
            for row in zip(
                reference.ids, reference.logprobs, candidate.ids, candidate.logprobs, strict=True
            )
        ]
    )


def _divergence(ids: Integers, logprobs: Floats, other_ids: Integers, other_logprobs: Floats) -> float:
    _, mine, others = np.intersect1d(ids, other_ids, return_indices=True)
    log_p, log_q = logprobs[mine], other_logprobs[others]
    p, q = np.exp(log_p), np.exp(log_q)
    rest_p, rest_q = max(1 - p.sum(), 0.0), max(1 - q.sum(), _SMALLEST)
    rest = rest_p * np.log(rest_p / rest_q) if rest_p > _SMALLEST else 0.0
    return max(float((p * (log_p - log_q)).sum() + rest), 0.0)
