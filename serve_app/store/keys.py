"""API keys in the store. A key is never deleted: who had which key stays on record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import BindParameter, Connection, Row, bindparam, insert, or_, select, update

from serve_app.auth import keys
from serve_app.auth.keys import ApiKey, IssuedKey, NewKey
from serve_app.store import sequence
from serve_app.store.database import Database
from serve_app.store.schema import api_keys


class KeyNotFound(Exception):
    """No key of that id."""


class KeyNotActive(Exception):
    """The key was revoked or has expired, and a key that has ended stays so."""


class DuplicateKeyName(Exception):
    """The tenant has a key in use of that name."""


class KeyTable:
    """Makes, changes and finds keys.

    Args:
        database: Where they are.
        clock: Seconds since 1970.
    """

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def create(self, new: NewKey) -> IssuedKey:
        """Make a key. Its secret is in the answer and nowhere else.

        Raises:
            DuplicateKeyName: The tenant has a key in use of that name.
            StoreUnavailable: The database is down.
        """
        secret = keys.new_secret()
        digest = keys.digest(secret)
        assert digest is not None
        record = ApiKey(
            id=keys.new_id(),
            name=new.name,
            subject=new.subject,
            tenant=new.tenant,
            roles=frozenset(new.roles),
            hint=keys.hint_of(secret),
            digest=digest,
            created_at=self._clock(),
            expires_at=new.expires_at,
            models=new.models,
            addresses=None if new.addresses is None else tuple(str(network) for network in new.addresses),
        )
        with self._database.write() as connection:
            # The number comes first: it lets one writer in at a time, so that no two can take a name.
            number = sequence.advance(connection)
            if self._is_taken(connection, new.tenant, new.name):
                raise DuplicateKeyName(
                    f"The tenant {new.tenant!r} has a key {new.name!r} in use; "
                    "choose another name, or rotate or revoke that key."
                )
            connection.execute(insert(api_keys).values(**_values(record), sequence=number))
        return IssuedKey(record, secret)

    def get(self, key_id: str) -> ApiKey:
        """A key by its id.

        Raises:
            KeyNotFound: There is none.
            StoreUnavailable: The database is down.
        """
        with self._database.read() as connection:
            return self._get(connection, key_id)

    def list(
        self, *, tenant: str | None = None, subject: str | None = None, with_revoked: bool = False
    ) -> tuple[ApiKey, ...]:
        """Keys, the oldest first; all, or those of a tenant or a subject.

        Raises:
            StoreUnavailable: The database is down.
        """
        query = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
        if tenant is not None:
            query = query.where(api_keys.c.tenant == tenant)
        if subject is not None:
            query = query.where(api_keys.c.subject == subject)
        if not with_revoked:
            query = query.where(api_keys.c.revoked_at.is_(None))
        with self._database.read() as connection:
            return tuple(record_of(row) for row in connection.execute(query))

    def rotate(self, key_id: str, grace_s: float) -> IssuedKey:
        """Give a key a new secret. The one that it had holds for so long; one from before that ends now.

        Raises:
            KeyNotFound: There is no such key.
            KeyNotActive: It was revoked or has expired.
            StoreUnavailable: The database is down.
        """
        secret = keys.new_secret()
        digest = keys.digest(secret)
        assert digest is not None
        with self._database.write() as connection:
            number = sequence.advance(connection)
            before, now = self._get(connection, key_id), self._clock()
            if not before.is_active(now):
                raise KeyNotActive(f"The key {key_id} was revoked or has expired; create a new one.")
            after = replace(
                before,
                digest=digest,
                hint=keys.hint_of(secret),
                previous_digest=before.digest if grace_s > 0 else None,
                previous_expires_at=now + grace_s if grace_s > 0 else None,
            )
            self._set(connection, after, number)
        return IssuedKey(after, secret)

    def revoke(self, key_id: str) -> ApiKey:
        """End a key, and what a rotation has left of it. Doing so again changes nothing.

        Raises:
            KeyNotFound: There is no such key.
            StoreUnavailable: The database is down.
        """
        with self._database.write() as connection:
            number = sequence.advance(connection)
            before = self._get(connection, key_id)
            if before.revoked_at is not None:
                return before
            after = replace(before, revoked_at=self._clock(), previous_digest=None, previous_expires_at=None)
            self._set(connection, after, number)
        return after

    def touch(self, used: Mapping[str, float]) -> None:
        """Note when keys were last used, by id; a moment earlier than the one known changes nothing.

        Raises:
            StoreUnavailable: The database is down.
        """
        if not used:
            return
        known = api_keys.c.last_used_at
        new: BindParameter[float] = bindparam("used_at")
        statement = (
            update(api_keys)
            .where(api_keys.c.id == bindparam("key_id"), or_(known.is_(None), known < new))
            .values(last_used_at=new)
        )
        with self._database.write() as connection:
            rows = [{"key_id": key_id, "used_at": used_at} for key_id, used_at in sorted(used.items())]
            connection.execute(statement, rows)

    @staticmethod
    def _is_taken(connection: Connection, tenant: str, name: str) -> bool:
        query = select(api_keys.c.id).where(
            api_keys.c.tenant == tenant, api_keys.c.name == name, api_keys.c.revoked_at.is_(None)
        )
        return connection.execute(query).first() is not None

    @staticmethod
    def _get(connection: Connection, key_id: str) -> ApiKey:
        row = connection.execute(select(api_keys).where(api_keys.c.id == key_id)).first()
        if row is None:
            raise KeyNotFound("There is no key of that id; `qwen-serve key list` shows the keys.")
        return record_of(row)

    @staticmethod
    def _set(connection: Connection, record: ApiKey, number: int) -> None:
        connection.execute(
            update(api_keys).where(api_keys.c.id == record.id).values(**_values(record), sequence=number)
        )


def record_of(row: Row[Any]) -> ApiKey:
    """The key that a row of the table holds."""
    return ApiKey(
        id=row.id,
        name=row.name,
        subject=row.subject,
        tenant=row.tenant,
        roles=frozenset(row.roles),
        hint=row.hint,
        digest=bytes(row.digest),
        created_at=row.created_at,
        expires_at=row.expires_at,
        models=None if row.models is None else tuple(row.models),
        addresses=None if row.addresses is None else tuple(row.addresses),
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
        previous_digest=None if row.previous_digest is None else bytes(row.previous_digest),
        previous_expires_at=row.previous_expires_at,
    )


def _values(record: ApiKey) -> dict[str, Any]:
    return {
        **{column.name: getattr(record, column.name) for column in api_keys.c if column.name != "sequence"},
        "roles": sorted(record.roles),
        "models": None if record.models is None else list(record.models),
        "addresses": None if record.addresses is None else list(record.addresses),
    }
