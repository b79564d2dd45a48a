"""How long an answer will be: a quantile of the answers that the same user had from the same model."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from typing import Final

from serve_app.limits.config import EstimateConfig

_BINS_PER_DOUBLING: Final = 4
"""An estimate is at most 2 ** (1 / 4), or 19%, above the quantile itself."""
_MAX_DOUBLINGS: Final = 21
"""Lengths up to two million tokens are told apart."""
_EDGES: Final = tuple(
    sorted({round(2 ** (i / _BINS_PER_DOUBLING)) for i in range(_MAX_DOUBLINGS * _BINS_PER_DOUBLING)})
)
_FULL: Final = 255
"""A byte counts the answers of a bin; when one is full all are halved, so that older answers fade."""


class Histogram:
    """Lengths of answers, in some eighty bytes."""

    __slots__ = ("_bins", "total")

    def __init__(self) -> None:
        self._bins = bytearray(len(_EDGES))
        self.total = 0

    def add(self, tokens: int) -> None:
        """Count one answer."""
        index = _bin(tokens)
        if self._bins[index] == _FULL:
            for i, count in enumerate(self._bins):
                self._bins[i] = count // 2
            self.total = sum(self._bins)
        self._bins[index] += 1
        self.total += 1

    def quantile(self, share: float) -> int:
        """A length that at least this share of the answers did not exceed, tokens."""
        rest = share * self.total
        for index, count in enumerate(self._bins):
            rest -= count
            if count and rest <= 0:
                return _EDGES[index]
        return _EDGES[-1]


class Estimator:
    """Learns how long answers are. Its memory is bounded; it is forgotten with the process.

    Args:
        config: Which quantile, and from how many answers on.
    """

    def __init__(self, config: EstimateConfig) -> None:
        self._config = config
        self._users: OrderedDict[tuple[str, str, str], Histogram] = OrderedDict()
        self._models: dict[str, Histogram] = {}

    def estimate(self, model: str, tenant: str, user: str, max_output_tokens: int) -> int:
        """What to reserve for an answer, tokens; never more than `max_output_tokens`."""
        for histogram in (self._users.get((model, tenant, user)), self._models.get(model)):
            if histogram is not None and histogram.total >= self._config.min_answers:
                return min(max_output_tokens, histogram.quantile(self._config.quantile))
        return min(max_output_tokens, self._config.default_output_tokens)

    def learn(self, model: str, tenant: str, user: str, output_tokens: int) -> None:
        """Take in the length of an answer."""
        self._models.setdefault(model, Histogram()).add(output_tokens)
        key = (model, tenant, user)
        if key not in self._users and len(self._users) >= self._config.max_users:
            self._users.popitem(last=False)
        self._users.setdefault(key, Histogram()).add(output_tokens)
        self._users.move_to_end(key)


def _bin(tokens: int) -> int:
    """The first bin whose edge is not below."""
    return min(bisect_left(_EDGES, tokens), len(_EDGES) - 1)
