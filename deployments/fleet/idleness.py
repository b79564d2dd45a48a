"""How long a model that nobody asks for is worth its GPUs, learned from its own pauses.

The old question of renting or buying: while it idles, a model costs its GPUs; unloaded too early, it costs
its next client a load. Looking back, the idle time is taken that would have been cheapest for the latest
pauses. While too few are known it is the time after which idling has cost as much as a load: whatever the
next pause turns out to be, that costs at most twice what the best choice would have (Karlin et al., 1988).
"""

from __future__ import annotations

from collections.abc import Sequence

PAUSES_KEPT = 64
"""Enough for a few days of a rarely used model, few enough to follow its habits."""

_PAUSES_NEEDED = 8
_SLACK = 1.1
"""A pause as long as one that was seen is still waited for."""


def worth_keeping_s(pauses_s: Sequence[float], load_cost: float, least_s: float, most_s: float) -> float:
    """The idle time after which to unload.

    Args:
        pauses_s: Pauses between requests that were longer than ``least_s``; shorter ones weigh nothing.
        load_cost: Of one load and the wait for it, in seconds of the model's idle GPUs.
        least_s: The shortest answer.
        most_s: The longest answer.
    """
    if len(pauses_s) < _PAUSES_NEEDED:
        return min(most_s, max(least_s, load_cost))
    ordered = sorted(pauses_s)
    candidates = [least_s, *(min(most_s, pause * _SLACK) for pause in ordered if pause < most_s), most_s]
    best, best_cost = most_s, float("inf")
    kept_s, kept = 0.0, 0
    for candidate in candidates:
        while kept < len(ordered) and ordered[kept] <= candidate:
            kept_s += ordered[kept]
            kept += 1
        cost = kept_s + (len(ordered) - kept) * (candidate + load_cost)
        if cost < best_cost:
            best, best_cost = candidate, cost
    return best
