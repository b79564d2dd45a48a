"""The ledger's buckets, so that limits outlive a restart of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import bindparam, delete, select

from serve_app.store.database import Database
from serve_app.store.schema import ledger_buckets


class BucketTable:
    """Keeps the state of buckets, which only the ledger understands.

    Args:
        database: Where it is.
        clock: Seconds since 1970.
    """

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def load(self) -> dict[str, Mapping[str, Any]]:
        """The state of every bucket, by name.

        Raises:
            StoreUnavailable: The database is down.
        """
        with self._database.read() as connection:
            return {row.bucket: row.state for row in connection.execute(select(ledger_buckets))}

    def save(self, states: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the state of these buckets, all or none; others stay as they are.

        Args:
            states: By name, each as JSON can hold it. An empty one needs no row.

        Raises:
            StoreUnavailable: The database is down.
        """
        if not states:
            return
        put = self._database.upsert(ledger_buckets)
        put = put.on_conflict_do_update(
            index_elements=["bucket"],
            set_={column: put.excluded[column] for column in ("state", "updated_at")},
        )
        now = self._clock()
        rows = [
            {"bucket": name, "state": state, "updated_at": now}
            for name, state in sorted(states.items())
            if state
        ]
        empty = [{"name": name} for name, state in sorted(states.items()) if not state]
        with self._database.write() as connection:
            if rows:
                connection.execute(put, rows)
            if empty:
                emptied = delete(ledger_buckets).where(ledger_buckets.c.bucket == bindparam("name"))
                connection.execute(emptied, empty)

    def prune(self, older_than_s: float) -> int:
        """Delete the buckets that were not saved for so long; how many.

        Raises:
            StoreUnavailable: The database is down.
        """
        statement = delete(ledger_buckets).where(ledger_buckets.c.updated_at < self._clock() - older_than_s)
        with self._database.write() as connection:
            return connection.execute(statement).rowcount
