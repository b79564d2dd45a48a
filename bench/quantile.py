"""Quantiles of measured values."""

from __future__ import annotations

import math
from collections.abc import Sequence


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that so great a share of all values does not exceed (nearest rank); 0 for none.

    Args:
        values: In any order.
        share: In (0, 1]; 0.5 is the median, the lower one of two.
    """
    ranked = sorted(values)
    return ranked[math.ceil(share * len(ranked)) - 1] if ranked else 0.0
