"""Usage added up."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from serve_app.store import Store, StoreConfig, UsageRow, UsageSum
from serve_app.store.database import Database
from serve_app.store.schema import usage_flushes
from tests.unit.serve_app.store.conftest import Clock

HOUR = 1_800_000_000 // 86_400 * 86_400
ROW = UsageRow(HOUR, "research", "zhangsan", "key_1", "qwen", "chat", 1, 10, 20)


def test_flushes_add_up(store: Store) -> None:
    assert store.usage.add("flush-1", [ROW, replace(ROW, subject="lisi")])
    assert store.usage.add("flush-2", [ROW, ROW])
    assert store.usage.sums(["subject"]) == (
        UsageSum(("lisi",), 1, 10, 20),
        UsageSum(("zhangsan",), 3, 30, 60),
    )


def test_flush_that_is_sent_twice_counts_once(store: Store) -> None:
    assert store.usage.add("flush-1", [ROW])
    assert not store.usage.add("flush-1", [ROW])
    assert store.usage.sums([]) == (UsageSum((), 1, 10, 20),)


def test_flushes_at_once_lose_nothing_and_double_nothing(store: Store) -> None:
    rows = [replace(ROW, subject=f"user-{number}") for number in range(5)]
    with ThreadPoolExecutor(4) as pool:
        added = list(
            pool.map(lambda n: store.usage.add(f"flush-{n % 8}", rows[:: 1 - 2 * (n % 2)]), range(16))
        )
    assert sum(added) == 8
    assert {total.requests for total in store.usage.sums(["subject"])} == {8}


def test_flush_that_fails_leaves_nothing_behind(store: Store) -> None:
    bad = replace(ROW, model=None)  # type: ignore[arg-type]
    with pytest.raises(Exception, match=r"(?i)null"):
        store.usage.add("flush-1", [replace(ROW, tenant="a"), bad])
    assert store.usage.sums([]) == ()
    assert store.usage.add("flush-1", [ROW])


def test_moments_of_one_hour_are_one_row(store: Store) -> None:
    store.usage.add("flush-1", [ROW, replace(ROW, hour=HOUR + 3599), replace(ROW, hour=HOUR + 3600)])
    assert store.usage.sums(["hour"]) == (
        UsageSum((HOUR,), 2, 20, 40),
        UsageSum((HOUR + 3600,), 1, 10, 20),
    )


def test_days_begin_where_the_caller_lives(store: Store) -> None:
    store.usage.add("flush-1", [replace(ROW, hour=HOUR + hours * 3600) for hours in (0, 15, 16, 23)])
    assert store.usage.sums(["day"]) == (UsageSum((HOUR,), 4, 40, 80),)
    china = store.usage.sums(["day", "model"], utc_offset_s=28_800)
    assert [(total.group, total.requests) for total in china] == [
        ((HOUR - 28_800, "qwen"), 2),
        ((HOUR - 28_800 + 86_400, "qwen"), 2),
    ]


def test_question_is_bounded_by_time_and_names(store: Store) -> None:
    store.usage.add(
        "flush-1",
        [
            ROW,
            replace(ROW, hour=HOUR + 3600),
            replace(ROW, hour=HOUR + 7200),
            replace(ROW, tenant="sales", key_id="", model="other", task="embedding"),
        ],
    )
    inner = store.usage.sums([], since=HOUR + 3700, until=HOUR + 7200)
    assert [total.requests for total in inner] == [1]
    assert [total.requests for total in store.usage.sums([], tenant="sales", model="other")] == [1]
    assert store.usage.sums(["subject"], subject="nobody") == ()
    assert [total.group for total in store.usage.sums(["key_id", "task"])] == [
        ("", "embedding"),
        ("key_1", "chat"),
    ]


def test_sums_beyond_32_bits_are_exact(store: Store) -> None:
    for number in range(3):
        store.usage.add(str(number), [replace(ROW, prompt_tokens=2**40 + 1)])
    assert store.usage.sums([])[0].prompt_tokens == 3 * (2**40 + 1)


def test_old_flush_ids_are_forgotten(store: Store, config: StoreConfig, clock: Clock) -> None:
    store.usage.add("old", [ROW])
    clock.now += 8 * 86_400
    store.usage.add("new", [ROW])
    database = Database(config)
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(usage_flushes)).scalar_one() == 1
    database.close()
