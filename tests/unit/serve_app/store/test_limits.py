"""Limits set by administrators."""

from __future__ import annotations

from serve_app.store import LimitKey, LimitOverride, Store
from tests.unit.serve_app.store.conftest import Clock


def test_limit_is_set_set_anew_and_taken_back(store: Store, clock: Clock) -> None:
    key = LimitKey("user", "zhangsan", "requests_per_minute")
    assert store.limits.set(key, 60, "admin") == LimitOverride(key, 60, clock.now, "admin")
    clock.now += 1
    second = store.limits.set(key, 2**40, "other")
    assert store.limits.list() == (second,)

    assert store.limits.delete(key)
    assert not store.limits.delete(key)
    assert store.limits.list() == ()


def test_limits_of_one_model_or_tenant_stand_beside_the_one_for_all(store: Store) -> None:
    everywhere = LimitKey("user", "zhangsan", "tokens_per_day")
    one_model = LimitKey("user", "zhangsan", "tokens_per_day", model="qwen")
    one_tenant = LimitKey("user", "zhangsan", "tokens_per_day", tenant="sales")
    for value, key in enumerate((everywhere, one_model, one_tenant)):
        store.limits.set(key, value + 1, "admin")
    assert [(each.key, each.value) for each in store.limits.list()] == [
        (everywhere, 1),
        (one_model, 2),
        (one_tenant, 3),
    ]
    assert store.limits.delete(one_model)
    assert [each.key for each in store.limits.list()] == [everywhere, one_tenant]
