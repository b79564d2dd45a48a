"""The copy of a store in use that docs/operations.md tells, and the way back."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from serve_app.auth.keys import NewKey
from serve_app.store import KeyNotFound, Store, StoreConfig

DOCS = Path(__file__).resolve().parents[4] / "docs"
BEFORE = 20


def command_of(page: str) -> list[str]:
    (line,) = re.findall(r"^python -c .*backup.*$", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE)
    return [sys.executable, *shlex.split(line)[1:-2]]


def key(name: str) -> NewKey:
    return NewKey(name=name, subject="lisi", tenant="search")


def test_both_pages_tell_the_same() -> None:
    assert command_of("operations.md") == command_of("operations.zh-CN.md")


def test_copy_of_a_store_that_is_being_written_brings_back_what_was_there(tmp_path: Path) -> None:
    original, copy = tmp_path / "store.db", tmp_path / "backup.db"
    store = Store.open(StoreConfig(url=f"sqlite:///{original}"))
    keys = [
        store.keys.create(NewKey(name=f"before-{n}", subject="lisi", tenant="search")) for n in range(BEFORE)
    ]
    store.keys.revoke(keys[0].record.id)
    stop = threading.Event()
    later: list[str] = []

    def write() -> None:
        while not stop.is_set():
            later.append(store.keys.create(key(f"later-{len(later)}")).record.id)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        subprocess.run([*command_of("operations.md"), str(original), str(copy)], check=True, timeout=60)
        written_since = store.keys.create(key("since"))
    finally:
        stop.set()
        writer.join()
        store.close()
    assert later, "nobody wrote meanwhile"

    for name in ("store.db", "store.db-wal", "store.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    copy.rename(original)
    restored = Store.open(StoreConfig(url=f"sqlite:///{original}"))
    try:
        assert [restored.keys.get(key.record.id).digest for key in keys] == [
            key.record.digest for key in keys
        ]
        assert restored.keys.get(keys[0].record.id).revoked_at is not None
        with pytest.raises(KeyNotFound):
            restored.keys.get(written_since.record.id)
    finally:
        restored.close()
