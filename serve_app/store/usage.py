"""Who used what: one row per hour, caller, key, model and task, added up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any, Literal

from sqlalchemy import ColumnElement, delete, func, literal, literal_column, select

from serve_app.store.database import Database
from serve_app.store.schema import usage_flushes, usage_hourly

HOUR_S = 3600
DAY_S = 86_400
FLUSH_MEMORY_S = 7 * DAY_S
"""How long a flush is known: longer than anyone tries to send it again."""

Dimension = Literal["tenant", "subject", "key_id", "model", "task", "hour", "day"]


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What one caller used of one model within an hour.

    Attributes:
        hour: Begin of the hour, seconds since 1970; any moment within it will do.
        tenant: The caller's tenant.
        subject: The caller.
        key_id: The API key that was shown; empty for a JWT.
        model: The model's id.
        task: ``chat``, ``embedding``, ...
        requests: How many.
        prompt_tokens: Tokens in.
        completion_tokens: Tokens out.
    """

    hour: int
    tenant: str
    subject: str
    key_id: str
    model: str
    task: str
    requests: int
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class UsageSum:
    """Usage added up over what it is not told apart by.

    Attributes:
        group: What it is told apart by, in the order of the question; hour and day as seconds since 1970.
        requests: How many.
        prompt_tokens: Tokens in.
        completion_tokens: Tokens out.
    """

    group: tuple[str | int, ...]
    requests: int
    prompt_tokens: int
    completion_tokens: int


_COUNTS = ("requests", "prompt_tokens", "completion_tokens")
_NAMES = tuple(field.name for field in fields(UsageRow))
_KEY = tuple(name for name in _NAMES if name not in _COUNTS)


class UsageTable:
    """Adds usage, and tells it.

    Args:
        database: Where it is.
        clock: Seconds since 1970.
    """

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def add(self, flush_id: str, rows: Iterable[UsageRow]) -> bool:
        """Add a flush to what is there, all of it or nothing; sent twice, it counts once.

        Args:
            flush_id: Unique to the flush, and the same when it is sent again.
            rows: What it holds.

        Returns:
            Whether it was added; false if it had been before.

        Raises:
            StoreUnavailable: The database is down. Send the flush again later.
        """
        now = self._clock()
        add = self._database.upsert(usage_hourly)
        add = add.on_conflict_do_update(
            index_elements=list(_KEY),
            set_={name: usage_hourly.c[name] + add.excluded[name] for name in _COUNTS},
        )
        # In one order for everybody, so that two flushes at once do not wait for each other.
        values = [_values(row) for row in sorted(rows, key=astuple)]
        with self._database.write() as connection:
            mark = self._database.upsert(usage_flushes).values(id=flush_id, flushed_at=now)
            # What it returns tells: a count of rows is not to be had from every driver.
            mark_new = mark.on_conflict_do_nothing().returning(usage_flushes.c.id)
            if connection.execute(mark_new).first() is None:
                return False
            connection.execute(delete(usage_flushes).where(usage_flushes.c.flushed_at < now - FLUSH_MEMORY_S))
            if values:
                connection.execute(add, values)
        return True

    def sums(  # noqa: PLR0913  (what can be asked)
        self,
        by: Sequence[Dimension],
        *,
        since: float | None = None,
        until: float | None = None,
        tenant: str | None = None,
        subject: str | None = None,
        model: str | None = None,
        utc_offset_s: int = 0,
    ) -> tuple[UsageSum, ...]:
        """Usage added up, in the order of its groups.

        Args:
            by: What to tell apart.
            since: From this moment's hour on, seconds since 1970.
            until: Up to this moment, exclusive.
            tenant: Of this tenant alone.
            subject: Of this subject alone.
            model: Of this model alone.
            utc_offset_s: Where days begin: 28,800 for China's.

        Raises:
            StoreUnavailable: The database is down.
        """
        groups = [_group(dimension, utc_offset_s) for dimension in by]
        query = select(*groups, *(func.sum(usage_hourly.c[name]) for name in _COUNTS))
        if since is not None:
            query = query.where(usage_hourly.c.hour >= _hour(since))
        if until is not None:
            query = query.where(usage_hourly.c.hour < until)
        for name, value in (("tenant", tenant), ("subject", subject), ("model", model)):
            if value is not None:
                query = query.where(usage_hourly.c[name] == value)
        # By position: PostgreSQL does not see that two expressions with parameters are the same.
        positions: list[ColumnElement[int]] = [literal_column(str(index + 1)) for index in range(len(groups))]
        query = query.group_by(*positions).order_by(*positions)
        with self._database.read() as connection:
            # Without groups the sum over no rows is one row of NULLs.
            return tuple(
                UsageSum(tuple(row[: len(groups)]), *(int(count) for count in row[len(groups) :]))
                for row in connection.execute(query)
                if row[-1] is not None
            )


def _group(dimension: Dimension, utc_offset_s: int) -> ColumnElement[Any]:
    if dimension != "day":
        return usage_hourly.c[dimension]
    hour = usage_hourly.c.hour
    return hour - (hour + literal(utc_offset_s)) % literal(DAY_S)


def _hour(moment: float) -> int:
    return int(moment) // HOUR_S * HOUR_S


def _values(row: UsageRow) -> dict[str, Any]:
    return dict(zip(_NAMES, astuple(row), strict=True)) | {"hour": _hour(row.hour)}
