"""The replica's leases, and the one conversation with the ledger that keeps them filled."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from serve_app.limits.bucket import Bucket
from serve_app.limits.config import LedgerConfig
from serve_app.limits.lease import Lease
from serve_app.limits.ledger import Batch, Grant, Ledger, LedgerUnavailable

logger = logging.getLogger("ray.serve")

RENEW_SHARE: Final = 0.5
"""A lease is renewed, or given back, when this share of its time is left."""


ASKS_AT_ONCE: Final = 128
LEASES_AT_ONCE: Final = 1_000
"""More in one go would hold up the event loop, and those who wait for an answer, for milliseconds."""


@dataclass(frozen=True, slots=True)
class _Letter:
    """A batch, and the leases that its asks are about, in the same order."""

    batch: Batch
    leases: tuple[Lease, ...]


class Leases:
    """What this replica holds of every bucket.

    One batch is under way at a time; what comes up meanwhile goes into the next. A batch that got no answer
    is sent again as it was, so that the ledger counts it once.

    Args:
        ledger: Who grants.
        config: Times, and what to do without the ledger.
        clock: Monotonic, seconds.
        replica: Name of this replica at the ledger; must be another after each start.
    """

    def __init__(
        self,
        ledger: Ledger,
        config: LedgerConfig,
        clock: Callable[[], float] = time.monotonic,
        replica: str | None = None,
    ) -> None:
        self._ledger = ledger
        self._config = config
        self._clock = clock
        self._replica = replica or uuid.uuid4().hex
        self._leases: dict[str, Lease] = {}
        self._urgent: dict[str, Lease] = {}
        self._backlog: dict[str, Lease] = {}
        self._unseen: deque[tuple[str, Lease]] = deque()
        self._waiters: list[asyncio.Future[None]] = []
        self._wake = asyncio.Event()
        self._seq = 0
        self._unanswered: _Letter | None = None
        self._away_since_s: float | None = None
        self._pump: asyncio.Task[None] | None = None

    @property
    def config(self) -> LedgerConfig:
        """Times, and what to do without the ledger."""
        return self._config

    @property
    def away_since_s(self) -> float | None:
        """Since when the ledger does not answer, by this replica's clock; None: it does."""
        return self._away_since_s

    def of(self, bucket: Bucket, limit: int) -> Lease:
        """The lease of a bucket, which may be empty."""
        lease = self._leases.get(bucket.id)
        if lease is None:
            lease = self._leases[bucket.id] = Lease(bucket, limit)
        lease.limit = limit
        return lease

    def start(self) -> None:
        """Begin to report and to renew in the background."""
        self._pump = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop, report what was spent, and give back the rest; without the ledger it ends by itself."""
        if self._pump is not None:
            self._pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pump
            self._pump = None
        if self._unanswered is not None:
            await self._exchange(self._unanswered)
        if self._unanswered is None and self._leases:
            await self._exchange(self._write(self._leases.values(), closing=True))
        self._release(self._waiters)

    async def obtain(self, wanted: Iterable[tuple[Lease, int]]) -> None:
        """Ask the ledger for these amounts, and wait for its answer, whatever it is.

        Returns at once while the ledger is known to be away.
        """
        if self._away_since_s is not None:
            return
        for lease, amount in wanted:
            lease.waiting.append(amount)
            self._urgent[lease.bucket.id] = lease
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._wake.set()
        await waiter

    def returned(self, lease: Lease) -> None:
        """Something was given back to a lease; another replica may be waiting for it."""
        if lease.returns_at_once and self._away_since_s is None:
            self._urgent[lease.bucket.id] = lease
            self._wake.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        tick_s = loop.time() + self._config.sync_interval_s
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(tick_s):
                    await self._wake.wait()
            self._wake.clear()
            ticked = loop.time() >= tick_s
            if ticked:
                tick_s = loop.time() + self._config.sync_interval_s
            try:
                await self._sync(ticked)
            except Exception:
                # A fault must not end the conversation; a batch that got no answer is sent again.
                logger.exception("Limits: the exchange with the ledger failed")
                if self._unanswered is not None:
                    self._miss()
                    self._release(self._waiters)
            # Those who were granted something take it before the next batch may give it back.
            await asyncio.sleep(0)

    async def _sync(self, ticked: bool) -> None:
        if self._unanswered is not None:
            if ticked and await self._exchange(self._unanswered):
                self._wake.set()
            return
        if ticked and not self._unseen:
            self._unseen.extend(self._leases.items())
        self._collect()
        chosen, self._urgent = self._urgent, {}
        while self._backlog and len(chosen) < ASKS_AT_ONCE:
            bucket, lease = self._backlog.popitem()
            chosen[bucket] = lease
        if self._backlog or self._unseen:
            self._wake.set()
        waiters, self._waiters = self._waiters, []
        try:
            if chosen:
                await self._exchange(self._write(chosen.values()))
        finally:
            self._release(waiters)

    def _collect(self) -> None:
        """Find the leases about which there is something to say; drop those that are of no more use."""
        now_s = self._clock()
        renew_before_s = self._config.lease_ttl_s * RENEW_SHARE
        # Longer than a request that looked it up may wait for the ledger: a bucket never has two leases here.
        keep_s = self._config.lease_ttl_s + 10 * self._config.sync_timeout_s
        for _ in range(min(len(self._unseen), LEASES_AT_ONCE)):
            bucket, lease = self._unseen.popleft()
            lease.tick()
            if lease.due(now_s, renew_before_s):
                self._backlog[bucket] = lease
            elif lease.idle and now_s > lease.valid_until_s + keep_s and bucket not in self._backlog:
                del self._leases[bucket]

    def _write(self, leases: Iterable[Lease], *, closing: bool = False) -> _Letter:
        now_s = self._clock()
        chosen = tuple(leases)
        self._seq += 1
        batch = Batch(
            replica=self._replica,
            seq=self._seq,
            ttl_ms=round(self._config.lease_ttl_s * 1000),
            asks=tuple(lease.ask(now_s, closing=closing) for lease in chosen),
        )
        return _Letter(batch, chosen)

    async def _exchange(self, letter: _Letter) -> bool:
        """Send a batch and take the answer.

        Returns:
            Whether there was one.
        """
        self._unanswered = letter
        sent_s = self._clock()
        try:
            async with asyncio.timeout(self._config.sync_timeout_s):
                grants = await self._ledger.sync(letter.batch)
        except (LedgerUnavailable, TimeoutError) as error:
            if self._away_since_s is None:
                logger.warning("Limits: the ledger is away (%s)", str(error) or "no answer in time")
            self._miss()
            self._release(self._waiters)
            return False
        self._unanswered = None
        if self._away_since_s is not None:
            logger.warning("Limits: the ledger is back")
            self._away_since_s = None
        self._receive(letter, grants, sent_s)
        return True

    def _receive(self, letter: _Letter, grants: tuple[Grant, ...], sent_s: float) -> None:
        now_s = self._clock()
        for lease, grant in zip(letter.leases, grants, strict=True):
            lease.receive(grant, sent_s, now_s, self._config.sync_interval_s)

    def _miss(self) -> None:
        if self._away_since_s is None:
            self._away_since_s = self._clock()

    @staticmethod
    def _release(waiters: list[asyncio.Future[None]]) -> None:
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        waiters.clear()
