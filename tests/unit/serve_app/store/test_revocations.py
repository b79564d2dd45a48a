"""Revocations, and what replicas are told."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

from serve_app.auth.changes import RevokedKind
from serve_app.auth.credentials import Credentials
from serve_app.auth.keys import NewKey
from serve_app.store import Store
from tests.unit.serve_app.store.conftest import Clock


def test_first_answer_is_complete_and_the_next_has_what_is_new(store: Store, clock: Clock) -> None:
    a = store.keys.create(NewKey(name="a", subject="s")).record
    b = store.keys.create(NewKey(name="b", subject="s")).record
    store.keys.revoke(b.id)
    first = store.revocations.changes_since(0)
    assert first.complete
    assert first.keys == (a,)
    assert pickle.loads(pickle.dumps(first)) == first  # noqa: S301  (our own)

    nothing = store.revocations.changes_since(first.sequence)
    assert (nothing.sequence, nothing.keys, nothing.revocations, nothing.complete) == (
        first.sequence,
        (),
        (),
        False,
    )

    store.keys.revoke(a.id)
    store.revocations.revoke_token("jti-1", clock.now + 60)
    then = store.revocations.changes_since(first.sequence)
    assert not then.complete
    assert [(key.id, key.revoked_at) for key in then.keys] == [(a.id, clock.now)]
    assert [(each.kind, each.name) for each in then.revocations] == [(RevokedKind.TOKEN, "jti-1")]


def test_complete_answer_leaves_out_what_has_expired(store: Store, clock: Clock) -> None:
    store.keys.create(NewKey(name="a", subject="s", expires_at=clock.now + 10))
    store.revocations.revoke_token("jti-1", clock.now + 10)
    store.revocations.revoke_token("jti-2")
    clock.now += 11
    changes = store.revocations.changes_since(0)
    assert changes.keys == ()
    assert [each.name for each in changes.revocations] == ["jti-2"]


def test_replica_that_is_ahead_of_a_restored_database_gets_everything(store: Store) -> None:
    store.keys.create(NewKey(name="a", subject="s"))
    changes = store.revocations.changes_since(1000)
    assert changes.complete
    assert len(changes.keys) == 1


def test_subject_revoked_again_is_revoked_until_the_later_moment(store: Store, clock: Clock) -> None:
    store.revocations.revoke_subject("zhangsan")
    sequence = store.revocations.changes_since(0).sequence
    clock.now += 100
    store.revocations.revoke_subject("zhangsan")

    (kept,) = store.revocations.list()
    assert (kept.kind, kept.name, kept.revoked_at) == (RevokedKind.SUBJECT, "zhangsan", clock.now)
    assert store.revocations.changes_since(sequence).revocations == (kept,)


def test_prune_deletes_what_no_token_needs_any_more(store: Store, clock: Clock) -> None:
    store.revocations.revoke_token("short", clock.now + 10)
    store.revocations.revoke_token("long", clock.now + 100)
    store.revocations.revoke_subject("zhangsan")
    clock.now += 50
    assert store.revocations.prune() == 1
    assert {each.name for each in store.revocations.list()} == {"long", "zhangsan"}


def test_replica_that_polls_while_others_write_misses_nothing(store: Store, clock: Clock) -> None:
    replica = Credentials(60, wall_clock=clock)

    def write(number: int) -> str:
        issued = store.keys.create(NewKey(name=str(number), subject="s"))
        if number % 2:
            store.keys.revoke(issued.record.id)
            return ""
        return issued.secret

    with ThreadPoolExecutor(3) as pool:
        writing = [pool.submit(write, number) for number in range(24)]
        while not all(each.done() for each in writing):
            replica.apply(store.revocations.changes_since(replica.sequence), 0)
    replica.apply(store.revocations.changes_since(replica.sequence), 0)

    kept = [each.result() for each in writing if each.result()]
    assert len(replica) == len(kept) == 12
    assert all(replica.find(secret) for secret in kept)
