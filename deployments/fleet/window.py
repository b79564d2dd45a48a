"""The peaks of a model's load over the last while."""

from __future__ import annotations

from dataclasses import dataclass

_BUCKET_S = 5.0
"""Peaks are kept for so many seconds together: two minutes are 24 numbers, whatever the clock's pace."""


@dataclass(frozen=True, slots=True)
class Peak:
    """The most in one bucket.

    Attributes:
        since: Start of the bucket, the clock's seconds.
        in_hand: Requests.
        kv_caches: KV cache in use, in replicas' worth (usage x replicas); None if it was not known once.
    """

    since: float
    in_hand: float
    kv_caches: float | None


@dataclass(frozen=True, slots=True)
class Window:
    """Peaks of a look-back, oldest first. Immutable: ``add`` returns the next one."""

    peaks: tuple[Peak, ...] = ()

    def add(self, now: float, in_hand: float, kv_caches: float | None, look_back_s: float) -> Window:
        """With one more sample, and without what is older than the look-back."""
        if self.peaks and now - self.peaks[-1].since < _BUCKET_S:
            last = self.peaks[-1]
            known = last.kv_caches is not None and kv_caches is not None
            if last.in_hand >= in_hand and (last.kv_caches or 0.0) >= (kv_caches or 0.0) and known:
                return self
            merged = Peak(last.since, max(last.in_hand, in_hand), _larger(last.kv_caches, kv_caches))
            return Window((*self.peaks[:-1], merged))
        kept = tuple(peak for peak in self.peaks if now - peak.since <= look_back_s)
        return Window((*kept, Peak(now, in_hand, kv_caches)))

    def covers(self, now: float, look_back_s: float) -> bool:
        """Whether it looks back far enough to judge from."""
        return bool(self.peaks) and now - self.peaks[0].since >= look_back_s - _BUCKET_S

    @property
    def in_hand(self) -> float:
        """The most requests in hand."""
        return max((peak.in_hand for peak in self.peaks), default=0.0)

    @property
    def kv_caches(self) -> float | None:
        """The most KV cache in use, in replicas' worth; None if it was not known once."""
        values = [peak.kv_caches for peak in self.peaks]
        known = [value for value in values if value is not None]
        return max(known, default=0.0) if len(known) == len(values) else None


EMPTY = Window()
"""Of a model that was never looked at."""


def _larger(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else max(one, other)
