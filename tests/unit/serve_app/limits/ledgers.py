"""Ledgers whose time tests can move: the embedded one by its clock, the one in Redis by its data."""

from __future__ import annotations

import json
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from redis.asyncio import Redis

from serve_app.limits.bucket import Bucket, LimitName, Scope
from serve_app.limits.embedded import EmbeddedLedger
from serve_app.limits.ledger import Ask, Batch, Grant
from serve_app.limits.redis_ledger import PREFIX, RedisLedger
from tests.unit.serve_app.limits.simulation import EPOCH_S

TTL_MS = 10_000


class MovableLedger(Protocol):
    """A ledger, and a way to let time pass."""

    async def sync(self, batch: Batch) -> tuple[Grant, ...]:
        """As the ledger does."""

    async def advance(self, seconds: float) -> None:
        """Let time pass."""


class MovableEmbedded:
    """The embedded ledger on a clock of its own."""

    def __init__(self) -> None:
        self.now_s = EPOCH_S
        self._ledger = EmbeddedLedger(ZoneInfo("UTC"), clock=lambda: self.now_s)

    async def sync(self, batch: Batch) -> tuple[Grant, ...]:
        return await self._ledger.sync(batch)

    async def advance(self, seconds: float) -> None:
        self.now_s += seconds


class MovableRedis:
    """The ledger in Redis. Its server's clock cannot be moved, so what it wrote is dated back instead."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._ledger = RedisLedger(client, ZoneInfo("UTC"))

    async def sync(self, batch: Batch) -> tuple[Grant, ...]:
        return await self._ledger.sync(batch)

    async def advance(self, seconds: float) -> None:
        ms = round(seconds * 1000)
        async for key in self._client.scan_iter(match=PREFIX + "*"):
            state: dict[str, Any] = json.loads(await self._client.get(key) or b"{}")
            slots = {str(int(slot) - ms): amount for slot, amount in state["s"].items()}
            holders = {
                name: [amount, until - ms, seq, counted - ms, refused and refused - ms]
                for name, (amount, until, seq, counted, refused) in state["h"].items()
            }
            await self._client.set(key, json.dumps({"s": slots, "h": holders}))


def bucket(limit: LimitName = LimitName.TOKENS_PER_MINUTE) -> Bucket:
    """The bucket that these tests count in."""
    return Bucket(limit, Scope.TENANT, "lab")


class Teller:
    """One replica at a ledger, by hand."""

    def __init__(self, ledger: MovableLedger, replica: str, limit: LimitName, amount: int) -> None:
        self._ledger = ledger
        self._replica = replica
        self._limit = limit
        self._amount = amount
        self.seq = 0

    async def tell(self, *, again: bool = False, **said: Any) -> Grant:
        """Send one ask; the same seq as before if it is sent again."""
        self.seq += not again
        ask = Ask(bucket=bucket(self._limit).id, name=self._limit, limit=self._amount, **said)
        (grant,) = await self._ledger.sync(Batch(self._replica, self.seq, TTL_MS, (ask,)))
        return grant
