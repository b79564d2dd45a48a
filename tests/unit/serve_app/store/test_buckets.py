"""The ledger's buckets."""

from __future__ import annotations

from serve_app.store import Store
from tests.unit.serve_app.store.conftest import Clock


def test_saved_state_is_loaded_as_it_was(store: Store) -> None:
    states: dict[str, dict[str, object]] = {
        "user/张三/tpm": {"level": 0.5, "at": 1.8e9, "leases": [1, 2]},
        "b": {"level": 1},
    }
    store.buckets.save(states)
    assert store.buckets.load() == states

    store.buckets.save({"b": {"level": 3}})
    store.buckets.save({})
    store.buckets.save({"c": {}})
    assert store.buckets.load() == {**states, "b": {"level": 3}}

    store.buckets.save({"b": {}})
    assert store.buckets.load().keys() == {"user/张三/tpm"}


def test_bucket_that_was_not_saved_for_long_is_pruned(store: Store, clock: Clock) -> None:
    store.buckets.save({"old": {"level": 1}, "kept": {"level": 1}})
    clock.now += 100
    store.buckets.save({"kept": {"level": 2}})
    assert store.buckets.prune(50) == 1
    assert store.buckets.load() == {"kept": {"level": 2}}
