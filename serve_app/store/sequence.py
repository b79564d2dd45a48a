"""The order of changes to keys and revocations."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from serve_app.store.schema import change_sequence


def current(connection: Connection) -> int:
    """The number of the last change."""
    return int(connection.execute(select(change_sequence.c.value)).scalar_one())


def advance(connection: Connection) -> int:
    """The number of a change that this transaction makes; other writers wait until it ends."""
    bump = (
        update(change_sequence).values(value=change_sequence.c.value + 1).returning(change_sequence.c.value)
    )
    return int(connection.execute(bump).scalar_one())
