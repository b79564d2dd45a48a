"""The registry's deployment: a single replica that owns the store and, where it is embedded, the ledger."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from serve_app.limits import Batch, Grant, LedgerUnavailable, LimitsConfig
from serve_app.limits.embedded import EmbeddedLedger
from serve_app.registry.fault import EXPECTED, Fault
from serve_app.registry.operations import Operation
from serve_app.store import Store, StoreConfig, StoreUnavailable

logger = logging.getLogger("ray.serve")

_RETRY_S: Final = 2.0
"""Between two tries to open a database that is down."""
_PRUNE_INTERVAL_S: Final = 3600.0
_FORGOTTEN_AFTER_S: Final = 70 * 86_400.0
"""Age at which accounts go that nobody has touched: no limit counts further back than a month."""


class Registry:
    """Runs operations on the store, one after the other as they come, and grants leases.

    A database that is down, at the start or later, fails what is asked meanwhile and nothing else.

    Args:
        store: Where the store is.
        limits: Where days begin, for the ledger.
        clock: Monotonic seconds.
    """

    def __init__(
        self, store: StoreConfig, limits: LimitsConfig, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._config = store
        self._zone = limits.zone
        self._opening = asyncio.Lock()
        self._store: Store | None = None
        self._ledger: EmbeddedLedger | None = None
        self._failed: tuple[float, str] | None = None
        self._clock = clock
        self._pruned_at = clock()

    async def run(self, operation: Operation[Any]) -> Any:
        """The operation's result, or a ``Fault``."""
        try:
            store = await self._open()
            return await asyncio.to_thread(self._apply, operation, store)
        except EXPECTED as error:
            return Fault.of(error)

    async def grant(self, batch: Batch) -> tuple[Grant, ...] | Fault:
        """The ledger's answer, or a ``Fault`` while it is away."""
        try:
            await self._open()
            assert self._ledger is not None
            return await self._ledger.sync(batch)
        except (StoreUnavailable, LedgerUnavailable) as error:
            return Fault.of(StoreUnavailable(str(error)))

    async def close(self) -> None:
        """Let go of the database."""
        if self._store is not None:
            await asyncio.to_thread(self._store.close)

    def _apply(self, operation: Operation[Any], store: Store) -> Any:
        if self._clock() - self._pruned_at > _PRUNE_INTERVAL_S:
            self._pruned_at = self._clock()
            store.revocations.prune()
            store.buckets.prune(_FORGOTTEN_AFTER_S)
        return operation.apply(store)

    async def _open(self) -> Store:
        if self._store is not None:
            return self._store
        async with self._opening:
            if self._store is None:
                if self._failed is not None and self._clock() - self._failed[0] < _RETRY_S:
                    raise StoreUnavailable(self._failed[1])
                try:
                    self._store, self._ledger = await self._open_both()
                except StoreUnavailable as error:
                    logger.error("The store cannot be opened", extra={"why": str(error)})
                    self._failed = self._clock(), str(error)
                    raise
        return self._store

    async def _open_both(self) -> tuple[Store, EmbeddedLedger]:
        store = await asyncio.to_thread(Store.open, self._config)
        ledger = EmbeddedLedger(self._zone, store.buckets)
        try:
            await ledger.open()
        except LedgerUnavailable as error:
            await asyncio.to_thread(store.close)
            raise StoreUnavailable(str(error)) from error
        return store, ledger
