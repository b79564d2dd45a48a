"""What one request holds of its limits, from before its call until the engine has said what it used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from serve_app.limits.lease import Lease, Report
from serve_app.limits.leases import Leases


@dataclass(frozen=True, slots=True)
class Share:
    """What a request took of one lease.

    Attributes:
        lease: Of which.
        amount: Requests or tokens.
        report: In which it is reported.
    """

    lease: Lease
    amount: int
    report: Report


class Reservation:
    """One request's shares of all its limits. It ends once, by `settle` or `refund`; later calls do nothing.

    Attributes:
        shares: What it took.
        tokens: Reserved, of prompt and answer together.
        ledger_away: Whether it was accepted without the ledger; for the audit.
    """

    __slots__ = ("_learn", "_leases", "_open", "ledger_away", "shares", "tokens")

    def __init__(
        self,
        shares: tuple[Share, ...],
        tokens: int,
        leases: Leases,
        learn: Callable[[int], None],
        *,
        ledger_away: bool,
    ) -> None:
        self.shares = shares
        self.tokens = tokens
        self.ledger_away = ledger_away
        self._leases = leases
        self._learn = learn
        self._open = True

    @property
    def is_open(self) -> bool:
        """Whether it has not ended yet."""
        return self._open

    def settle(self, prompt_tokens: int, completion_tokens: int, *, complete: bool = True) -> None:
        """Charge what the engine used: give back what was reserved beyond it, or owe what is missing.

        Args:
            prompt_tokens: Of the engine's count.
            completion_tokens: That the engine made.
            complete: Whether the answer came to its own end; one that was cut short says nothing about
                how long answers are.
        """
        if not self._open:
            return
        used = prompt_tokens + completion_tokens
        self._end(used, keep_requests=True)
        if complete and completion_tokens > 0:
            self._learn(completion_tokens)

    def refund(self) -> None:
        """Give everything back: the engine did nothing for this request."""
        if self._open:
            self._end(0, keep_requests=False)

    def _end(self, tokens_used: int, *, keep_requests: bool) -> None:
        self._open = False
        for share in self.shares:
            lease, limit = share.lease, share.lease.bucket.limit
            if limit.counts_tokens:
                if tokens_used > share.amount:
                    lease.charge(tokens_used - share.amount)
                elif tokens_used < share.amount:
                    lease.give(share.amount - tokens_used, share.report)
            elif lease.is_gauge or not keep_requests:
                lease.give(share.amount, share.report)
            lease.reservations -= 1
            self._leases.returned(lease)
