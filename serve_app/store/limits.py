"""Limits that an administrator has set in place of the configuration's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Row, delete, select

from serve_app.store.database import Database
from serve_app.store.schema import limit_overrides

_KEY = ("scope", "name", "tenant", "model", "limit")


@dataclass(frozen=True, slots=True)
class LimitKey:
    """Which limit, and of whom.

    Attributes:
        scope: What it limits: ``key``, ``user``, ``tenant`` or ``model``.
        name: Which of those.
        limit: Which limit, such as ``requests_per_minute``.
        tenant: For callers of this tenant alone, since users of two may have one name; none: of any.
        model: For this model alone; none: for all together.
    """

    scope: str
    name: str
    limit: str
    tenant: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class LimitOverride:
    """A limit that was set.

    Attributes:
        key: Which one.
        value: How much.
        updated_at: When it was set, seconds since 1970.
        updated_by: Who set it.
    """

    key: LimitKey
    value: int
    updated_at: float
    updated_by: str


class LimitTable:
    """Keeps overrides of limits.

    Args:
        database: Where they are.
        clock: Seconds since 1970.
    """

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def list(self) -> tuple[LimitOverride, ...]:
        """All overrides, in the order of scope, name, tenant, model and limit.

        Raises:
            StoreUnavailable: The database is down.
        """
        query = select(limit_overrides).order_by(*(limit_overrides.c[column] for column in _KEY))
        with self._database.read() as connection:
            return tuple(_record(row) for row in connection.execute(query))

    def set(self, key: LimitKey, value: int, by: str) -> LimitOverride:
        """Set a limit, in place of what was set before.

        Args:
            key: Which limit.
            value: How much.
            by: Who sets it.

        Raises:
            StoreUnavailable: The database is down.
        """
        override = LimitOverride(key, value, self._clock(), by)
        put = self._database.upsert(limit_overrides)
        put = put.on_conflict_do_update(
            index_elements=list(_KEY),
            set_={column: put.excluded[column] for column in ("value", "updated_at", "updated_by")},
        )
        values = {"value": value, "updated_at": override.updated_at, "updated_by": by}
        with self._database.write() as connection:
            connection.execute(put, _columns(key) | values)
        return override

    def delete(self, key: LimitKey) -> bool:
        """Go back to the configuration's limit; whether there was an override.

        Raises:
            StoreUnavailable: The database is down.
        """
        this = (limit_overrides.c[column] == value for column, value in _columns(key).items())
        with self._database.write() as connection:
            return connection.execute(delete(limit_overrides).where(*this)).rowcount > 0


def _columns(key: LimitKey) -> dict[str, Any]:
    # Parts of the primary key, where a database takes no NULL.
    return {column: value or "" for column, value in asdict(key).items()}


def _record(row: Row[Any]) -> LimitOverride:
    key = LimitKey(row.scope, row.name, row.limit, row.tenant or None, row.model or None)
    return LimitOverride(key, row.value, row.updated_at, row.updated_by)
