"""Brings a database to the form that this version expects."""

from __future__ import annotations

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text

from serve_app.store.database import Database, StoreUnavailable

_SCRIPTS = Path(__file__).with_name("migrations")
LOCK_ID = 0x7177656E  # "qwen"
# Alembic hands `env.py` its context through a variable that all threads of a process share.
_ALEMBIC = threading.Lock()


def migrate(database: Database) -> None:
    """Run the migrations that are missing, all of them or none.

    Of several processes that start at once one does it and the others wait.

    Raises:
        StoreUnavailable: The database is down, or was written by a newer version.
    """
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    with _ALEMBIC, database.write() as connection:
        if not database.is_sqlite:
            # BEGIN IMMEDIATE is SQLite's lock; this is PostgreSQL's, until the transaction ends.
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK_ID})
        _check_version(database, connection, ScriptDirectory.from_config(config))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _check_version(database: Database, connection: Connection, scripts: ScriptDirectory) -> None:
    for revision in MigrationContext.configure(connection).get_current_heads():
        try:
            scripts.get_revision(revision)
        except CommandError as error:
            raise StoreUnavailable(
                f"{database.unavailable(f'its form {revision} is of a newer version of qwen-serve')} "
                "Install that version, or restore a backup from before."
            ) from error
