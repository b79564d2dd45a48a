"""Revocations of JWTs, and what replicas are told of credentials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, or_, select

from serve_app.auth.changes import Changes, Revocation, RevokedKind
from serve_app.store import sequence
from serve_app.store.database import Database
from serve_app.store.keys import record_of
from serve_app.store.schema import api_keys, revocations


class RevocationTable:
    """Revokes tokens, and tells what has changed.

    Args:
        database: Where revocations and keys are.
        clock: Seconds since 1970.
    """

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def revoke_token(self, token_id: str, expires_at: float | None = None) -> Revocation:
        """Revoke the JWT of a ``jti``.

        Args:
            token_id: Its ``jti``.
            expires_at: Its ``exp`` with leeway, after which the revocation is dropped; none: it is kept.

        Raises:
            StoreUnavailable: The database is down.
        """
        return self._put(Revocation(RevokedKind.TOKEN, token_id, self._clock(), expires_at))

    def revoke_subject(self, subject: str) -> Revocation:
        """Revoke all JWTs of a subject issued until now, of whatever issuer. Its API keys are revoked by id.

        Raises:
            StoreUnavailable: The database is down.
        """
        return self._put(Revocation(RevokedKind.SUBJECT, subject, self._clock()))

    def list(self) -> tuple[Revocation, ...]:
        """All revocations that can still concern a token, the newest first.

        Raises:
            StoreUnavailable: The database is down.
        """
        query = (
            select(revocations)
            .where(self._is_live())
            .order_by(revocations.c.revoked_at.desc(), revocations.c.name)
        )
        with self._database.read() as connection:
            return tuple(_record(row) for row in connection.execute(query))

    def prune(self) -> int:
        """Delete the revocations of tokens that have expired by themselves; how many.

        Raises:
            StoreUnavailable: The database is down.
        """
        with self._database.write() as connection:
            return connection.execute(delete(revocations).where(~self._is_live())).rowcount

    def changes_since(self, number: int) -> Changes:
        """What has changed after a number; everything, for 0 or a number that this database has not reached.

        Raises:
            StoreUnavailable: The database is down.
        """
        with self._database.read() as connection:
            # Read first: what is committed meanwhile may come twice, but is never left out.
            current = sequence.current(connection)
            if number == current and number > 0:
                return Changes(current, (), (), complete=False)
            complete = number <= 0 or number > current
            keys, revoked = select(api_keys), select(revocations).where(self._is_live())
            if complete:
                keys = keys.where(api_keys.c.revoked_at.is_(None))
            else:
                keys = keys.where(api_keys.c.sequence > number)
                revoked = revoked.where(revocations.c.sequence > number)
            records = tuple(record_of(row) for row in connection.execute(keys))
            now = self._clock()
            return Changes(
                current,
                tuple(key for key in records if not complete or key.is_active(now)),
                tuple(_record(row) for row in connection.execute(revoked)),
                complete,
            )

    def _is_live(self) -> ColumnElement[bool]:
        return or_(revocations.c.expires_at.is_(None), revocations.c.expires_at > self._clock())

    def _put(self, revocation: Revocation) -> Revocation:
        statement = self._database.upsert(revocations)
        statement = statement.on_conflict_do_update(
            index_elements=["kind", "name"],
            set_={column: statement.excluded[column] for column in ("revoked_at", "expires_at", "sequence")},
        )
        with self._database.write() as connection:
            values = {
                "kind": revocation.kind.value,
                "name": revocation.name,
                "revoked_at": revocation.revoked_at,
                "expires_at": revocation.expires_at,
                "sequence": sequence.advance(connection),
            }
            connection.execute(statement, values)
        return revocation


def _record(row: Row[Any]) -> Revocation:
    return Revocation(RevokedKind(row.kind), row.name, row.revoked_at, row.expires_at)
