"""The arithmetic of one bucket: what is used, who holds leases, and what can be granted.

What counts against the limit at any moment is what was reported as spent within the span, and every lease
that is out. A lease counts from its grant, and what is spent of it counts for a whole window from the
report, which comes later than the spending: so no window of real time holds more than the limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from serve_app.limits.ledger import Ask, Batch, Grant
from serve_app.limits.span import Span

SCARCE_SHARE: Final = 8
"""With less than this fraction of the limit left a bucket is scarce; otherwise a replica gets at most
this fraction of what is left beyond what it needs."""
FORGET_AFTER_MS: Final = 600_000
"""A replica that has been silent for so long is forgotten; a report that it repeats later counts again."""
MAX_LEASE_MS: Final = 300_000
"""No lease is longer; the configuration allows none that is."""
RETRY_MS: Final = 1_000
"""When to ask again for what no clock sets free: leases and slots that others hold."""


@dataclass(slots=True)
class Holder:
    """What one replica holds.

    Attributes:
        amount: Its lease.
        until_ms: End of the lease.
        seq: Of the last batch that was counted.
        counted_ms: When that was.
        refused_ms: When it was last refused something that it has not been granted since; 0: it was not.
    """

    amount: int
    until_ms: int
    seq: int
    counted_ms: int
    refused_ms: int = 0


@dataclass(slots=True)
class Account:
    """One bucket.

    Attributes:
        slots: What was spent, by the beginning of its slot.
        holders: The replicas that hold leases of it, or held some not long ago.
    """

    slots: dict[int, int] = field(default_factory=dict)
    holders: dict[str, Holder] = field(default_factory=dict)

    @classmethod
    def from_json(cls, state: Mapping[str, Any], now_ms: int) -> Self:
        """What `to_json` gave. What is dated later than now was written by a clock that was ahead."""
        account = cls()
        for slot, amount in state.get("s", {}).items():
            slot_ms = min(int(slot), now_ms)
            account.slots[slot_ms] = account.slots.get(slot_ms, 0) + amount
        for replica, values in state.get("h", {}).items():
            held = account.holders[replica] = Holder(*values)
            held.until_ms = min(held.until_ms, now_ms + MAX_LEASE_MS)
        return account

    def to_json(self) -> dict[str, Any]:
        """All of it in the types of JSON; empty when nothing is used and nobody holds anything."""
        if not self.slots and not self.holders:
            return {}
        return {
            "s": {str(slot): amount for slot, amount in self.slots.items()},
            "h": {
                replica: [held.amount, held.until_ms, held.seq, held.counted_ms, held.refused_ms]
                for replica, held in self.holders.items()
            },
        }

    def prune(self, span: Span, now_ms: int) -> None:
        """Forget what counts no more."""
        self.slots = {slot: n for slot, n in self.slots.items() if n and slot >= span.start_ms}
        gone_ms = now_ms - span.tail_ms - FORGET_AFTER_MS
        self.holders = {name: held for name, held in self.holders.items() if held.until_ms > gone_ms}

    def used(self, span: Span, now_ms: int) -> int:
        """What counts against the limit, of a pruned account."""
        leased = sum(held.amount for held in self.holders.values() if now_ms < held.until_ms + span.tail_ms)
        return sum(self.slots.values()) + leased

    def apply(self, ask: Ask, batch: Batch, span: Span, now_ms: int) -> Grant:
        """Count what a replica reports, and grant what it asks; a batch that was counted is only answered."""
        self.prune(span, now_ms)
        held = self.holders.get(batch.replica)
        refused = 0
        scarce = False
        if held is None or batch.seq > held.seq:
            before = held.amount if held is not None else 0
            keep = self._count(ask, held, span, now_ms)
            valid_ms = batch.ttl_ms if span.end_ms is None else min(batch.ttl_ms, span.end_ms - now_ms)
            held = Holder(keep, now_ms + valid_ms, batch.seq, now_ms)
            self.holders[batch.replica] = held
            # What a gauge gets back is for a replica that was refused; otherwise the busiest keeps it all.
            yields = span.is_gauge and keep < before and self._others_wait(batch.replica, now_ms)
            granted, refused, scarce = _share(ask, 0 if yields else ask.limit - self.used(span, now_ms))
            held.amount += granted
            held.refused_ms = now_ms if refused else 0
        free = ask.limit - self.used(span, now_ms)
        return Grant(
            amount=held.amount,
            valid_ms=max(0, held.until_ms - now_ms),
            counted_ms=held.counted_ms,
            remaining=max(0, free),
            reset_ms=self._reset_ms(span, now_ms),
            refused=refused,
            retry_ms=self._retry_ms(refused - free, span, now_ms) if refused else 0,
            scarce=scarce,
        )

    def _count(self, ask: Ask, held: Holder | None, span: Span, now_ms: int) -> int:
        """Count a report.

        Returns:
            What the replica keeps.
        """
        lease = 0
        if held is not None:
            lease = max(0, held.amount - ask.spent)
            if now_ms >= held.until_ms:
                # Too late: what it does not report now it may yet report, spent before the lease ended.
                if span.tail_ms:
                    self._add(span.slot(held.until_ms), lease)
                lease = 0
            held.amount = 0
        self._add(span.slot(now_ms), ask.spent)
        for counted_ms, amount in ask.refunds:
            self._add(span.slot(counted_ms), -amount)
        return max(ask.in_use, min(ask.keep, lease))

    def _add(self, slot: int | None, amount: int) -> None:
        if slot is not None and amount:
            self.slots[slot] = max(0, self.slots.get(slot, 0) + amount)

    def _reset_ms(self, span: Span, now_ms: int) -> int:
        if span.end_ms is not None:
            return span.end_ms - now_ms
        ends = [slot + span.slot_ms for slot in self.slots]
        ends += [held.until_ms for held in self.holders.values() if held.amount and held.until_ms > now_ms]
        return max(0, max(ends) + span.tail_ms - now_ms) if ends and span.tail_ms else 0

    def _retry_ms(self, missing: int, span: Span, now_ms: int) -> int:
        """When so much more is free."""
        if span.end_ms is not None and missing > self._held():
            return span.end_ms - now_ms
        for slot in sorted(self.slots):
            missing -= self.slots[slot]
            if missing <= 0 and span.tail_ms:
                return slot + span.slot_ms + span.tail_ms - now_ms
        return RETRY_MS

    def _others_wait(self, replica: str, now_ms: int) -> bool:
        return any(
            held.refused_ms > now_ms - RETRY_MS for name, held in self.holders.items() if name != replica
        )

    def _held(self) -> int:
        return sum(held.amount for held in self.holders.values())


def _share(ask: Ask, free: int) -> tuple[int, int, bool]:
    """What to grant of what is free; the smallest need that this leaves; whether little is left."""
    granted = refused = 0
    for need in ask.needs:
        if need <= free - granted:
            granted += need
        else:
            refused = min(refused, need) if refused else need
    spare = free - granted
    scarce = refused > 0 or spare * SCARCE_SHARE < ask.limit
    extra = 0 if scarce else min(ask.want, spare // SCARCE_SHARE)
    return granted + extra, refused, scarce
