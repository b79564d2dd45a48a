"""A replica's copy of the credentials."""

from __future__ import annotations

from dataclasses import replace

import pytest

from serve_app.auth.changes import Changes, Revocation, RevokedKind
from serve_app.auth.credentials import Credentials
from serve_app.auth.keys import ApiKey
from serve_app.auth.outage import AuthenticationUnavailable
from serve_app.auth.principal import Identity, Principal
from tests.unit.serve_app.auth.conftest import Clock
from tests.unit.serve_app.auth.records import issued


@pytest.fixture
def wall() -> Clock:
    return Clock(1_800_000_000)


@pytest.fixture
def copy(clock: Clock, wall: Clock) -> Credentials:
    return Credentials(300, clock=clock, wall_clock=wall)


def give(
    copy: Credentials, *keys: ApiKey, revoked: tuple[Revocation, ...] = (), complete: bool = False
) -> None:
    copy.apply(Changes(copy.sequence + 1, keys, revoked, complete), asked_at=1000)


def test_key_is_found_by_its_secret_and_names_its_principal(copy: Credentials) -> None:
    key = issued(models=("qwen*",))
    give(copy, key.record, issued().record)
    held = copy.find(key.secret)
    assert held is not None
    assert held.principal == Principal(
        "zhangsan", frozenset({"user"}), "research", key_id=key.record.id, models=("qwen*",)
    )
    assert copy.find(issued().secret) is None
    assert copy.find("sk-short") is None


def test_revoked_key_is_gone(copy: Credentials) -> None:
    key = issued()
    give(copy, key.record)
    give(copy, replace(key.record, revoked_at=5.0))
    assert copy.find(key.secret) is None
    assert len(copy) == 0


def test_expired_key_is_refused_at_once_and_dropped_later(
    copy: Credentials, clock: Clock, wall: Clock
) -> None:
    key = issued(expires_at=wall.now + 10)
    give(copy, key.record)
    wall.now += 10
    assert copy.find(key.secret) is None

    clock.now += 61
    give(copy)
    assert len(copy) == 0


def test_rotated_key_has_two_secrets_until_the_grace_ends(
    copy: Credentials, clock: Clock, wall: Clock
) -> None:
    old, new = issued(), issued()
    record = replace(
        old.record,
        digest=new.record.digest,
        previous_digest=old.record.digest,
        previous_expires_at=wall.now + 60,
    )
    give(copy, old.record)
    give(copy, record)
    assert copy.find(old.secret)
    assert copy.find(new.secret)

    wall.now += 60
    clock.now += 61
    give(copy)
    assert copy.find(old.secret) is None
    assert copy.find(new.secret)
    assert len(copy) == 1
    give(copy, replace(record, revoked_at=1.0))
    assert len(copy) == 0


def test_rotated_key_ends_with_its_expiry_even_within_the_grace(copy: Credentials, wall: Clock) -> None:
    old = issued(expires_at=wall.now + 5)
    new = issued(
        expires_at=wall.now + 5, previous_digest=old.record.digest, previous_expires_at=wall.now + 60
    )
    give(copy, new.record)
    assert copy.find(old.secret)
    wall.now += 5
    assert copy.find(old.secret) is None


def test_complete_answer_replaces_everything(copy: Credentials) -> None:
    first, second = issued(), issued()
    give(copy, first.record, revoked=(Revocation(RevokedKind.TOKEN, "jti", 1),))
    give(copy, second.record, complete=True)
    assert copy.find(first.secret) is None
    assert copy.find(second.secret)
    assert len(copy) == 1


def test_answer_that_comes_late_undoes_nothing(copy: Credentials) -> None:
    key = issued()
    copy.apply(Changes(5, (replace(key.record, revoked_at=1.0),), (), complete=False), asked_at=1000)
    copy.apply(Changes(4, (key.record,), (), complete=False), asked_at=2000)
    assert copy.find(key.secret) is None
    assert copy.sequence == 5


def test_copy_is_used_until_it_is_too_old(copy: Credentials, clock: Clock) -> None:
    with pytest.raises(AuthenticationUnavailable, match="Try again later"):
        copy.check_fresh()
    copy.apply(Changes(1, (), (), complete=True), asked_at=clock.now)
    clock.now += 300
    copy.check_fresh()
    clock.now += 1
    with pytest.raises(AuthenticationUnavailable):
        copy.check_fresh()
    copy.apply(Changes(1, (), (), complete=False), asked_at=clock.now)
    copy.check_fresh()


def test_age_counts_from_the_question_not_from_the_answer(copy: Credentials, clock: Clock) -> None:
    copy.apply(Changes(1, (), (), complete=True), asked_at=clock.now - 301)
    with pytest.raises(AuthenticationUnavailable):
        copy.check_fresh()


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("2001:db8::5", True),
        ("11.0.0.1", False),
        ("2001:db9::5", False),
        ("10.1.2.3, 11.0.0.1", False),
        ("unknown", False),
        (None, False),
    ],
)
def test_key_with_networks_is_for_their_addresses_alone(
    copy: Credentials, address: str | None, allowed: bool
) -> None:
    key, free = issued(addresses=("10.0.0.0/8", "2001:db8::/32")), issued()
    give(copy, key.record, free.record)
    held, anywhere = copy.find(key.secret), copy.find(free.secret)
    assert held is not None
    assert anywhere is not None
    assert held.allows(address) is allowed
    assert anywhere.allows(address)


def identity(token_id: str | None = None, issued_at_s: float = 0) -> Identity:
    return Identity(Principal("zhangsan", frozenset(), token_id=token_id), issued_at_s)


def test_token_is_revoked_by_its_id_and_by_its_subject_until_then(copy: Credentials) -> None:
    give(copy, revoked=(Revocation(RevokedKind.TOKEN, "jti-1", 50),))
    assert copy.is_revoked(identity("jti-1", 1000))
    assert not copy.is_revoked(identity("jti-2", 1000))
    assert not copy.is_revoked(identity(None, 1000))

    give(copy, revoked=(Revocation(RevokedKind.SUBJECT, "zhangsan", 500.9),))
    assert copy.is_revoked(identity("jti-3", 500))
    assert not copy.is_revoked(identity("jti-3", 501))
    assert copy.is_revoked(identity(issued_at_s=0))  # says not when it was issued


def test_subject_and_token_of_the_same_name_are_told_apart(copy: Credentials) -> None:
    give(copy, revoked=(Revocation(RevokedKind.TOKEN, "zhangsan", 50),))
    assert not copy.is_revoked(identity("other", 0))


def test_revocation_is_dropped_when_its_tokens_have_expired(
    copy: Credentials, clock: Clock, wall: Clock
) -> None:
    give(copy, revoked=(Revocation(RevokedKind.TOKEN, "jti-1", 50, wall.now + 10),))
    wall.now += 11
    clock.now += 61
    give(copy)
    assert len(copy) == 0


def test_uses_are_handed_over_once(copy: Credentials, wall: Clock) -> None:
    key = issued()
    give(copy, key.record)
    held = copy.find(key.secret)
    assert held is not None
    assert copy.take_uses() == {}
    copy.note_use(held)
    wall.now += 1
    copy.note_use(held)
    assert copy.take_uses() == {key.record.id: wall.now}
    assert copy.take_uses() == {}
