"""The connection to the database: SQLite or PostgreSQL, transactions, and what is said when it is down."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from serve_app.store.config import StoreConfig

_WRITES = "qwen_serve_writes"


class StoreUnavailable(Exception):
    """The database cannot be used now. The message says which, why, and what to do; never a password."""


class Database:
    """Transactions on one database; may be used by many threads. Opens nothing until the first of them.

    Args:
        config: Which database.

    Raises:
        StoreUnavailable: The password file cannot be read.
    """

    def __init__(self, config: StoreConfig) -> None:
        self._url = _url(config)
        self._engine = _engine(self._url, config)

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of SQLite."""
        return self._engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads.

        Raises:
            StoreUnavailable: The database is down, locked for too long, or broken.
        """
        with self._transaction(writes=False) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is committed at the end, and rolled back on an exception.

        Raises:
            StoreUnavailable: The database is down, locked for too long, or broken. Nothing was written,
                unless the connection broke during the commit, which nobody can know.
        """
        with self._transaction(writes=True) as connection:
            yield connection

    def upsert(self, table: Table) -> postgresql.Insert | sqlite.Insert:
        """An insertion that can say what to do where the row is there already."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def prepare(self) -> None:
        """Make the file of a SQLite database, readable by its owner alone.

        Raises:
            StoreUnavailable: It cannot be made.
        """
        if not self.is_sqlite:
            return
        path = Path(self._url.database or "")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            # SQLite gives its journal files the same mode.
            path.chmod(0o600)
        except OSError as error:
            raise self.unavailable(error.strerror or str(error)) from error

    def unavailable(self, why: str) -> StoreUnavailable:
        """The error for a database that cannot be used."""
        shown = self._url.render_as_string(hide_password=True)
        if self._url.password:
            why = why.replace(self._url.password, "***")
        todo = (
            "Make sure that the file and its folder are writable, that the disk is not full, and that no "
            "other program holds the database."
            if self.is_sqlite
            else "Make sure that the server runs and takes this user, and check store.url and "
            "store.password_file."
        )
        return StoreUnavailable(f"The database {shown} cannot be used: {why.rstrip('.')}. {todo}")

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                connection.execution_options(**{_WRITES: writes})
                with connection.begin():
                    yield connection
        except IntegrityError:
            raise  # what is written is at fault, not the database
        except DBAPIError as error:
            raise self.unavailable(_first_line(error.orig)) from error
        except PoolTimeoutError as error:
            raise self.unavailable("all connections are in use") from error


def _url(config: StoreConfig) -> URL:
    url = make_url(config.url)
    if config.password_file is None:
        return url
    try:
        return url.set(password=config.password_file.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise StoreUnavailable(
            f"Cannot read the database's password from {config.password_file}; "
            "check store.password_file and who may read it."
        ) from error


def _engine(url: URL, config: StoreConfig) -> Engine:
    engine = create_engine(
        url,
        connect_args=_connect_args(url, config),
        pool_size=config.pool_size,
        max_overflow=0,
        pool_timeout=config.timeout_s,
        # A server that was restarted is found out before a transaction, not in it.
        pool_pre_ping=url.drivername != "sqlite",
        hide_parameters=True,
    )
    if url.drivername == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _connect_args(url: URL, config: StoreConfig) -> dict[str, Any]:
    """What bounds every wait: for a connection, for a lock, and for a server that says nothing any more."""
    if url.drivername == "sqlite":
        return {"timeout": config.timeout_s, "check_same_thread": False}
    timeout_ms = round(config.timeout_s * 1000)
    return {
        "application_name": "qwen-serve",
        "connect_timeout": max(2, round(config.timeout_s)),
        "tcp_user_timeout": timeout_ms,
        "options": f"-c lock_timeout={timeout_ms}",
    }


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transactions leave DDL out and begin as readers, which two writers can deadlock on.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "foreign_keys = ON", "synchronous = FULL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _first_line(error: BaseException | None) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
