"""The ledger's side of the counter: what replicas ask, what they are answered.

A replica is granted a *lease*: an amount of a bucket that it may spend without asking again, for a
limited time. What it spent it reports with its next request. Durations cross the wire, never clocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from serve_app.limits.bucket import LimitName


class LedgerUnavailable(Exception):
    """The ledger gave no answer. It may or may not have counted what it was told."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a replica says about one bucket.

    Attributes:
        bucket: Its id.
        name: Which limit it is.
        limit: How much may be in use.
        spent: Used since the last report that was counted.
        refunds: Given back of what earlier reports said: when that report was counted, and how much.
        in_use: Of a gauge: held by requests in hand, whatever was granted.
        keep: What the replica holds and would keep, ``in_use`` included.
        needs: What waiting requests need, each all or nothing, in their order.
        want: What it would like beyond that, so as not to ask again soon.
    """

    bucket: str
    name: LimitName
    limit: int
    spent: int = 0
    refunds: tuple[tuple[int, int], ...] = ()
    in_use: int = 0
    keep: int = 0
    needs: tuple[int, ...] = ()
    want: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """One message of a replica.

    Attributes:
        replica: Who asks; another one after each start of the process.
        seq: Grows with each batch; one that is sent again has the same and is counted once.
        ttl_ms: How long leases shall last, milliseconds.
        asks: One for each bucket at most.
    """

    replica: str
    seq: int
    ttl_ms: int
    asks: tuple[Ask, ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """What the ledger answers about one bucket.

    Attributes:
        amount: All that the replica now holds, in place of what it held when it asked.
        valid_ms: How long it may spend that, milliseconds from when it asked.
        counted_ms: When the report was counted, by the ledger's clock; names it in a refund.
        remaining: What nobody holds or has used.
        reset_ms: When the bucket is full again if nothing more is used, milliseconds from now.
        refused: The smallest need that was not met; 0: all were.
        retry_ms: When that need can be met, as far as one can say, milliseconds from now.
        scarce: Little is left: what is not needed at once is to be given back.
    """

    amount: int
    valid_ms: int
    counted_ms: int
    remaining: int
    reset_ms: int
    refused: int
    retry_ms: int
    scarce: bool


class Ledger(Protocol):
    """Grants leases so that all replicas together never exceed a limit."""

    async def sync(self, batch: Batch) -> tuple[Grant, ...]:
        """Count what was spent, and grant.

        Returns:
            A grant for each ask, in the same order.

        Raises:
            LedgerUnavailable: No answer; send the same batch again.
        """
