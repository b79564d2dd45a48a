"""API keys in the store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from serve_app.auth import keys
from serve_app.auth.keys import NewKey
from serve_app.store import DuplicateKeyName, KeyNotActive, KeyNotFound, Store, StoreConfig
from tests.unit.serve_app.store.conftest import Clock


def new(name: str = "laptop", tenant: str = "research") -> NewKey:
    return NewKey(name=name, subject="zhangsan", tenant=tenant)


def test_key_is_kept_as_its_digest_with_all_that_was_said_of_it(store: Store, clock: Clock) -> None:
    said = NewKey.model_validate(
        {
            "name": "批处理",
            "subject": "张三@example.cn",
            "tenant": "research",
            "roles": ["user", "admin"],
            "expires_at": clock.now + 60,
            "models": ["qwen*"],
            "addresses": ["10.0.0.0/8", "2001:db8::/32"],
        }
    )
    issued = store.keys.create(said)
    kept = store.keys.get(issued.record.id)

    assert kept == issued.record
    assert kept.digest == keys.digest(issued.secret)
    assert kept.hint == issued.secret[-4:]
    assert (kept.name, kept.subject, kept.roles) == (
        "批处理",
        "张三@example.cn",
        frozenset({"user", "admin"}),
    )
    assert (kept.models, kept.addresses) == (("qwen*",), ("10.0.0.0/8", "2001:db8::/32"))
    assert kept.created_at == clock.now


def test_secret_is_nowhere_in_the_store(store: Store) -> None:
    issued = store.keys.create(new())
    assert issued.secret not in repr(store.keys.list())
    assert issued.secret not in repr(issued)


def test_restriction_that_was_not_set_stays_unset(store: Store) -> None:
    kept = store.keys.get(store.keys.create(new()).record.id)
    assert (kept.models, kept.addresses, kept.expires_at) == (None, None, None)


def test_two_keys_in_use_of_a_tenant_differ_in_name(store: Store) -> None:
    first = store.keys.create(new())
    with pytest.raises(DuplicateKeyName, match="'research' has a key 'laptop'"):
        store.keys.create(new())
    store.keys.create(new(tenant="sales"))

    store.keys.revoke(first.record.id)
    assert store.keys.create(new()).record.id != first.record.id


def test_of_many_that_take_a_name_at_once_one_gets_it(config: StoreConfig, store: Store) -> None:
    def take(_: int) -> bool:
        try:
            store.keys.create(new())
        except DuplicateKeyName:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(take, range(12))) == 1
    assert len(store.keys.list()) == 1


def test_list_is_of_a_tenant_or_a_subject_and_leaves_revoked_keys_out(store: Store, clock: Clock) -> None:
    first = store.keys.create(new("a")).record
    clock.now += 1
    second = store.keys.create(new("b", tenant="sales")).record
    store.keys.revoke(first.id)

    assert [key.id for key in store.keys.list()] == [second.id]
    assert [key.id for key in store.keys.list(with_revoked=True)] == [first.id, second.id]
    assert store.keys.list(tenant="research") == ()
    assert [key.id for key in store.keys.list(subject="zhangsan")] == [second.id]
    assert store.keys.list(subject="lisi") == ()


def test_rotation_keeps_the_former_secret_for_its_grace(store: Store, clock: Clock) -> None:
    first = store.keys.create(new())
    second = store.keys.rotate(first.record.id, 300)

    assert second.record.id == first.record.id
    assert second.secret != first.secret
    assert second.record.previous_digest == first.record.digest
    assert second.record.previous_expires_at == clock.now + 300
    assert store.keys.get(first.record.id) == second.record

    at_once = store.keys.rotate(first.record.id, 0).record
    assert (at_once.previous_digest, at_once.previous_expires_at) == (None, None)


def test_key_that_has_ended_is_not_rotated(store: Store, clock: Clock) -> None:
    revoked = store.keys.create(new("a")).record
    store.keys.revoke(revoked.id)
    expired = store.keys.create(new("b").model_copy(update={"expires_at": clock.now + 1})).record
    clock.now += 2
    for key in (revoked, expired):
        with pytest.raises(KeyNotActive, match="create a new one"):
            store.keys.rotate(key.id, 60)


def test_revoking_ends_the_former_secret_too_and_happens_once(store: Store, clock: Clock) -> None:
    key = store.keys.create(new()).record
    store.keys.rotate(key.id, 300)
    revoked = store.keys.revoke(key.id)
    assert (revoked.revoked_at, revoked.previous_digest) == (clock.now, None)

    clock.now += 5
    assert store.keys.revoke(key.id) == revoked


def test_key_that_is_not_there_is_said_so(store: Store) -> None:
    for act in (store.keys.get, store.keys.revoke, lambda key_id: store.keys.rotate(key_id, 1)):
        with pytest.raises(KeyNotFound, match="qwen-serve key list"):
            act("key_none")


def test_last_use_only_moves_forward_and_is_no_change_to_tell(store: Store) -> None:
    a, b = (store.keys.create(new(name)).record.id for name in "ab")
    sequence = store.revocations.changes_since(0).sequence
    store.keys.touch({a: 100.0, b: 200.0, "key_none": 300.0})
    store.keys.touch({a: 50.0, b: 201.0})
    store.keys.touch({})

    assert [store.keys.get(key).last_used_at for key in (a, b)] == [100.0, 201.0]
    assert store.revocations.changes_since(sequence).keys == ()
