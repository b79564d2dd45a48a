"""The ledger that lives in this cluster: accounts in memory, written down before a grant is answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from serve_app.limits.account import Account
from serve_app.limits.bucket import Kind, LimitName
from serve_app.limits.ledger import Batch, Grant, LedgerUnavailable
from serve_app.limits.span import Span, span

SWEEP_INTERVAL_MS: Final = 60_000
"""How often accounts in which nothing counts any more are let go."""


class BucketStore(Protocol):
    """Keeps the accounts where a restart finds them. Both methods may block; they run in a thread."""

    def load(self) -> Mapping[str, Mapping[str, Any]]:
        """The state of every bucket, in the types of JSON, by its id."""

    def save(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace the state of these buckets. An empty state is as good as no row."""


class SteadyClock:
    """Seconds since 1970 that never jump: the wall clock at the start, then the monotonic one."""

    def __init__(self) -> None:
        self._offset_s = time.time() - time.monotonic()

    def __call__(self) -> float:
        """Now."""
        return self._offset_s + time.monotonic()


class EmbeddedLedger:
    """A ledger in one process, of which a cluster runs exactly one.

    Args:
        zone: Where days and months begin.
        store: Where accounts survive a restart; None: they do not, which is for tests.
        clock: Seconds since 1970; must not jump.
    """

    def __init__(
        self, zone: ZoneInfo, store: BucketStore | None = None, clock: Callable[[], float] | None = None
    ) -> None:
        self._zone = zone
        self._store = store
        self._clock = clock or SteadyClock()
        self._accounts: dict[str, Account] = {}
        self._kinds: dict[str, Kind] = {}
        self._unsaved: set[str] = set()
        self._saving = asyncio.Lock()
        self._next_sweep_ms = 0

    async def open(self) -> None:
        """Read what an earlier ledger wrote down. To be called once, before the first batch.

        Raises:
            LedgerUnavailable: The store cannot be read.
        """
        if self._store is None:
            return
        try:
            rows = await asyncio.to_thread(self._store.load)
        except Exception as error:
            raise LedgerUnavailable("The accounts of limits cannot be read from the store.") from error
        now_ms = self._now_ms()
        self._accounts = {bucket: Account.from_json(state, now_ms) for bucket, state in rows.items()}
        self._kinds = {bucket: LimitName(bucket.partition("/")[0]).kind for bucket in rows}

    async def sync(self, batch: Batch) -> tuple[Grant, ...]:
        """Count what was spent, and grant.

        Raises:
            LedgerUnavailable: What would be granted cannot be written down.
        """
        now_ms = self._now_ms()
        spans: dict[Kind, Span] = {}
        grants = []
        for ask in batch.asks:
            kind = ask.name.kind
            if kind not in spans:
                spans[kind] = span(kind, now_ms, self._zone)
            self._kinds[ask.bucket] = kind
            account = self._accounts.setdefault(ask.bucket, Account())
            grants.append(account.apply(ask, batch, spans[kind], now_ms))
            self._unsaved.add(ask.bucket)
        if now_ms >= self._next_sweep_ms:
            self._sweep(now_ms)
        await self._save()
        return tuple(grants)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _sweep(self, now_ms: int) -> None:
        self._next_sweep_ms = now_ms + SWEEP_INTERVAL_MS
        spans = {kind: span(kind, now_ms, self._zone) for kind in Kind}
        for bucket, account in list(self._accounts.items()):
            account.prune(spans[self._kinds[bucket]], now_ms)
            if not account.slots and not account.holders:
                del self._accounts[bucket], self._kinds[bucket]
                self._unsaved.add(bucket)

    async def _save(self) -> None:
        """Write down what changed. Batches that arrive while a write is under way share the next one."""
        if self._store is None:
            self._unsaved.clear()
            return
        async with self._saving:
            if not self._unsaved:
                return
            changed, self._unsaved = self._unsaved, set()
            rows = {bucket: self._accounts.get(bucket, Account()).to_json() for bucket in changed}
            try:
                await asyncio.to_thread(self._store.save, rows)
            except BaseException as error:
                self._unsaved |= changed
                if isinstance(error, Exception):
                    raise LedgerUnavailable("Grants cannot be written to the store.") from error
                raise
