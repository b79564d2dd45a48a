"""What one replica holds of one bucket, and what it has spent of it."""

from __future__ import annotations

import math

from serve_app.limits.bucket import Bucket, Kind
from serve_app.limits.ledger import Ask, Grant


class Report:
    """What is spent between two reports; the ledger's moment of counting names it in refunds."""

    __slots__ = ("counted_ms",)

    def __init__(self) -> None:
        self.counted_ms: int | None = None


class Lease:
    """The replica's side of one bucket. No clock and no waiting here; `now_s` is the replica's monotonic one.

    Attributes:
        bucket: Which.
        limit: What it allows, as the rules now say.
        is_gauge: Whether what is taken counts only until it is given back.
        balance: What may be spent without asking; below zero after an overrun.
        valid_until_s: After that nothing may be spent without asking.
        report: What is spent now will be reported as this.
        in_use: Of a gauge: held by requests in hand.
        reservations: Requests that will still settle here.
        waiting: What requests need that wait for the next answer.
        remaining: What the ledger had left when it last answered.
        reset_at_s: When the bucket is full again, as far as the ledger could tell.
        refused: The smallest need that it refused; 0: none.
        refused_until_s: For so long asking for as much again is pointless.
        retry_at_s: When the client should ask again.
        scarce: What is not needed at once is to be given back.
        overdrawn: Spent without a grant since the ledger was last there.
    """

    __slots__ = (
        "_demand",
        "_sent",
        "_taken",
        "balance",
        "bucket",
        "in_use",
        "is_gauge",
        "limit",
        "overdrawn",
        "refunds",
        "refused",
        "refused_until_s",
        "remaining",
        "report",
        "reservations",
        "reset_at_s",
        "retry_at_s",
        "scarce",
        "spent",
        "valid_until_s",
        "waiting",
    )

    def __init__(self, bucket: Bucket, limit: int) -> None:
        self.bucket = bucket
        self.limit = limit
        self.balance = 0
        self.valid_until_s = float("-inf")
        self.report = Report()
        self.spent = 0
        self.refunds: dict[Report, int] = {}
        self.in_use = 0
        self.reservations = 0
        self.waiting: list[int] = []
        self.remaining = limit
        self.reset_at_s = float("-inf")
        self.refused = 0
        self.refused_until_s = float("-inf")
        self.retry_at_s = float("-inf")
        self.scarce = False
        self.overdrawn = 0
        self.is_gauge = bucket.limit.kind is Kind.GAUGE
        self._sent: Report | None = None
        self._taken = 0
        self._demand = 0

    def has(self, amount: int, now_s: float) -> bool:
        """Whether so much may be spent without asking."""
        return self.balance >= amount and now_s < self.valid_until_s

    def refuses(self, amount: int, now_s: float) -> bool:
        """Whether the ledger refused as much a moment ago."""
        return 0 < self.refused <= amount and now_s < self.refused_until_s

    def may_overdraw(self, amount: int, ratio: float) -> bool:
        """Whether so much may be spent while the ledger is away: at most a share of the limit."""
        without = self.in_use if self.is_gauge else self.overdrawn
        return without + amount <= math.ceil(self.limit * ratio)

    def take(self, amount: int) -> Report:
        """Spend. Whether there is enough is the caller's to know."""
        self.balance -= amount
        self._taken += amount
        self.reservations += 1
        if self.is_gauge:
            self.in_use += amount
        else:
            self.spent += amount
        return self.report

    def give(self, amount: int, report: Report) -> None:
        """Give back what was taken into a report."""
        if self.is_gauge:
            self.in_use -= amount
            if not self.scarce:  # Otherwise the ledger shall say who is next.
                self.balance += amount
        elif report is self.report:
            self.spent -= amount
            self.balance += amount
        else:
            self.refunds[report] = self.refunds.get(report, 0) + amount

    def charge(self, amount: int) -> None:
        """Spend what was used beyond what was reserved; nobody can refuse it any more."""
        self.spent += amount
        self.balance -= amount

    @property
    def left(self) -> int:
        """What could still be used, as far as this replica knows."""
        return max(0, min(self.limit, self.remaining + self.balance))

    @property
    def returns_at_once(self) -> bool:
        """Whether another replica may be waiting for what is idle here."""
        return self.scarce and self.is_gauge

    @property
    def idle(self) -> bool:
        """Whether nothing would be lost with it but what ends by itself."""
        return not (
            self.spent or self.refunds or self.in_use or self.reservations or self.waiting or self._sent
        )

    def tick(self) -> None:
        """One interval has passed: what was taken in it is what the next ones are expected to take."""
        self._demand = max(self._taken, self._demand // 2)
        self._taken = 0

    def due(self, now_s: float, renew_before_s: float) -> bool:
        """Whether there is something to tell the ledger."""
        held = self.in_use > 0 or (self.balance > 0 and now_s < self.valid_until_s)
        return (
            bool(self.spent or self.waiting)
            or any(report.counted_ms is not None for report in self.refunds)
            or (held and (now_s >= self.valid_until_s - renew_before_s or (self.scarce and self.balance > 0)))
        )

    def ask(self, now_s: float, *, closing: bool = False) -> Ask:
        """What to tell the ledger now. What is spent from here on goes into the next report."""
        idle = max(0, self.balance) if now_s < self.valid_until_s else 0
        # A lease that nothing was taken of since it was last renewed is not renewed again.
        quiet = not (self._taken or self._demand or self.waiting)
        self.balance = 0 if closing or self.scarce or quiet else idle
        counted = {report: n for report, n in self.refunds.items() if report.counted_ms is not None}
        ask = Ask(
            bucket=self.bucket.id,
            name=self.bucket.limit,
            limit=self.limit,
            spent=self.spent,
            refunds=tuple((report.counted_ms or 0, n) for report, n in counted.items()),
            in_use=self.in_use,
            keep=self.in_use + self.balance,
            needs=tuple(self.waiting),
            want=0 if closing or quiet else self._want(),
        )
        for report in counted:
            del self.refunds[report]
        self._sent, self.report = self.report, Report()
        self.spent = 0
        self.waiting = []
        return ask

    def receive(self, grant: Grant, sent_s: float, now_s: float, interval_s: float) -> None:
        """Take the ledger's answer to the last `ask`.

        Args:
            grant: The answer.
            sent_s: When the question was sent. The lease's time runs from there, so that it has ended here
                before it ends at the ledger.
            now_s: When the answer came.
            interval_s: A refusal is believed no longer than this.
        """
        assert self._sent is not None
        self._sent.counted_ms = grant.counted_ms
        self._sent = None
        self.balance = grant.amount - (self.in_use if self.is_gauge else self.spent)
        # A fiftieth for a clock that is slow, a millisecond for the ledger's rounding.
        self.valid_until_s = sent_s + grant.valid_ms / 1000 * 0.98 - 0.001
        self.remaining = grant.remaining
        self.reset_at_s = now_s + grant.reset_ms / 1000
        self.refused = grant.refused
        self.retry_at_s = now_s + grant.retry_ms / 1000
        self.refused_until_s = min(self.retry_at_s, now_s + interval_s)
        self.scarce = grant.scarce
        self.overdrawn = 0

    def _want(self) -> int:
        """Enough for two intervals like the last, or for some more requests like those that wait."""
        return max(0, 2 * max(self._demand, self._taken) + 4 * max(self.waiting, default=0) - self.balance)
