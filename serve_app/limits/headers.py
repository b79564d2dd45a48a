"""OpenAI's rate limit headers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from serve_app.limits.bucket import Kind
from serve_app.limits.lease import Lease
from serve_app.limits.refusal import LedgerAway, LimitExceeded, LimitRefusal
from serve_app.limits.reservation import Reservation


def rate_limit_headers(reservation: Reservation, now_s: float) -> dict[str, str]:
    """``x-ratelimit-*`` of the tightest limit on requests and of the tightest on tokens.

    Args:
        reservation: Of the request.
        now_s: The leases' clock, monotonic, seconds.
    """
    leases = [share.lease for share in reservation.shares]
    headers: dict[str, str] = {}
    _describe(
        headers, "requests", _leases_of(leases, lambda lease: not lease.bucket.limit.counts_tokens), now_s
    )
    _describe(headers, "tokens", _leases_of(leases, lambda lease: lease.bucket.limit.counts_tokens), now_s)
    return headers


def retry_headers(refusal: LimitRefusal) -> dict[str, str]:
    """``retry-after`` in whole seconds, of a refusal that ends by itself."""
    if isinstance(refusal, LimitExceeded | LedgerAway):
        return {"retry-after": str(max(1, math.ceil(refusal.retry_after_s)))}
    return {}


def duration(seconds: float) -> str:
    """A duration as OpenAI writes it: ``120ms``, ``1s``, ``6m0s``, ``1h0m0s``."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms" if seconds > 0 else "0s"
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _leases_of(leases: Iterable[Lease], chosen: Callable[[Lease], bool]) -> list[Lease]:
    # Requests in hand at once are no rate: nothing resets.
    return [lease for lease in leases if chosen(lease) and lease.bucket.limit.kind is not Kind.GAUGE]


def _describe(headers: dict[str, str], unit: str, leases: list[Lease], now_s: float) -> None:
    if not leases:
        return
    tightest = min(leases, key=lambda lease: lease.left / lease.limit)
    headers[f"x-ratelimit-limit-{unit}"] = str(tightest.limit)
    headers[f"x-ratelimit-remaining-{unit}"] = str(tightest.left)
    headers[f"x-ratelimit-reset-{unit}"] = duration(max(0.0, tightest.reset_at_s - now_s))
