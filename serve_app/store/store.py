"""The store as a whole: one database, one table object for each noun."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

from serve_app.store.buckets import BucketTable
from serve_app.store.config import StoreConfig
from serve_app.store.database import Database
from serve_app.store.keys import KeyTable
from serve_app.store.limits import LimitTable
from serve_app.store.migration import migrate
from serve_app.store.revocations import RevocationTable
from serve_app.store.usage import UsageTable


class Store:
    """What the platform remembers. Blocking, and safe to use from several threads.

    Args:
        database: Whose form is that of this version.
        clock: Seconds since 1970.

    Attributes:
        keys: API keys.
        revocations: Revoked JWTs, and what has changed of credentials.
        usage: Who used what.
        limits: Limits set by administrators.
        buckets: The ledger's state.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self.keys = KeyTable(database, clock)
        self.revocations = RevocationTable(database, clock)
        self.usage = UsageTable(database, clock)
        self.limits = LimitTable(database, clock)
        self.buckets = BucketTable(database, clock)

    @classmethod
    def open(cls, config: StoreConfig, clock: Callable[[], float] = time.time) -> Self:
        """The store of a configuration, made or brought to this version's form where that is needed.

        Raises:
            StoreUnavailable: The database is down, or was written by a newer version.
        """
        database = Database(config)
        try:
            database.prepare()
            migrate(database)
        except BaseException:
            database.close()
            raise
        return cls(database, clock)

    def close(self) -> None:
        """Close all connections."""
        self._database.close()
