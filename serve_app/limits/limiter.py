"""May this request go ahead? Takes from every limit that holds for it, or from none."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from serve_app.limits.estimate import Estimator
from serve_app.limits.lease import Lease
from serve_app.limits.leases import Leases
from serve_app.limits.refusal import LedgerAway, LimitExceeded, RequestTooLarge
from serve_app.limits.reservation import Reservation, Share
from serve_app.limits.rules import Caller, RuleSet

_ATTEMPTS: Final = 4
"""How often the ledger is asked for one request. More than once only where other requests of this replica
took what was granted for this one."""

_Parts: TypeAlias = list[tuple[Lease, int]]


class Limiter:
    """The limits as one ingress replica sees them. Not thread-safe: it belongs to one event loop.

    Args:
        rules: Which limits hold; may be replaced at any time.
        leases: What this replica holds.
        estimator: How long answers are.
        clock: The leases' clock, monotonic, seconds.
    """

    def __init__(
        self,
        rules: RuleSet,
        leases: Leases,
        estimator: Estimator,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rules = rules
        self._leases = leases
        self._estimator = estimator
        self._clock = clock

    async def reserve(
        self, caller: Caller, model: str, prompt_tokens_bound: int, max_output_tokens: int
    ) -> Reservation:
        """Reserve for one request. With leases at hand this never waits.

        Args:
            caller: Who asks.
            model: Id of the model.
            prompt_tokens_bound: The prompt has no more tokens than this.
            max_output_tokens: The answer has no more tokens than this; 0 where nothing is generated.

        Raises:
            LimitExceeded: A limit is used up for now.
            RequestTooLarge: The request alone is more than a limit allows.
            LedgerAway: The ledger is away, and what may be done without it is used up.
        """
        output = self._estimator.estimate(model, caller.tenant, caller.user, max_output_tokens)
        tokens = prompt_tokens_bound + output
        parts: _Parts = []
        for quota in self.rules.quotas(caller, model):
            amount = tokens if quota.bucket.limit.counts_tokens else 1
            if amount > quota.limit:
                raise RequestTooLarge(quota.bucket, quota.limit, amount)
            parts.append((self._leases.of(quota.bucket, quota.limit), amount))
        away = bool(self._missing(parts)) and await self._obtain(parts)
        shares = tuple(Share(lease, amount, lease.take(amount)) for lease, amount in parts)
        learn = partial(self._estimator.learn, model, caller.tenant, caller.user)
        return Reservation(shares, tokens, self._leases, learn, ledger_away=away)

    async def _obtain(self, parts: _Parts) -> bool:
        """Get from the ledger what is missing. Nothing is awaited after the last look at the balances.

        Returns:
            Whether the request goes ahead without the ledger.
        """
        for _ in range(_ATTEMPTS):
            missing = self._missing(parts)
            if not missing:
                return False
            self._refuse(missing)
            await self._leases.obtain(missing)
            if self._leases.away_since_s is not None:
                return self._do_without(parts)
        missing = self._missing(parts)
        if missing:
            raise self._exceeded(missing[0][0])
        return False

    def _missing(self, parts: _Parts) -> _Parts:
        now_s = self._clock()
        return [(lease, amount) for lease, amount in parts if not lease.has(amount, now_s)]

    def _refuse(self, missing: _Parts) -> None:
        """Refuse without asking what the ledger refused a moment ago.

        Raises:
            LimitExceeded: It did; of several the one that takes longest.
        """
        now_s = self._clock()
        refused = [lease for lease, amount in missing if lease.refuses(amount, now_s)]
        if refused:
            raise self._exceeded(max(refused, key=lambda lease: lease.retry_at_s))

    def _exceeded(self, lease: Lease) -> LimitExceeded:
        retry_after_s = max(0.0, lease.retry_at_s - self._clock())
        return LimitExceeded(lease.bucket, lease.limit, retry_after_s)

    def _do_without(self, parts: _Parts) -> bool:
        """Decide without the ledger.

        Returns:
            Whether it was needed at all.

        Raises:
            LedgerAway: It is, and the request may not go ahead without it.
        """
        config = self._leases.config
        missing = self._missing(parts)
        if not missing:
            return False
        away_since_s = self._leases.away_since_s
        assert away_since_s is not None
        in_grace = self._clock() - away_since_s < config.away_grace_s
        allowed = config.on_ledger_away == "allow" and in_grace
        ratio = config.away_allowance_ratio
        if not allowed or not all(lease.may_overdraw(amount, ratio) for lease, amount in missing):
            raise LedgerAway(config.sync_interval_s)
        for lease, amount in missing:
            lease.overdrawn += amount
        return True
