"""API keys."""

from __future__ import annotations

import hashlib

import pytest
from pydantic import ValidationError

from serve_app.auth import keys
from serve_app.auth.keys import NewKey
from tests.unit.serve_app.auth.records import issued


def test_key_has_256_random_bits_and_a_form_of_its_own() -> None:
    secrets = {keys.new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert {len(secret) for secret in secrets} == {len("sk-") + 43}
    assert all(keys.is_key(secret) and secret.endswith(keys.hint_of(secret)) for secret in secrets)
    assert not keys.is_key("eyJhbGciOiJIUzI1NiJ9.e30.x")


def test_digest_is_sha256_of_what_has_the_form_of_a_key() -> None:
    secret = keys.new_secret()
    assert keys.digest(secret) == hashlib.sha256(secret.encode()).digest()
    for other in ("", "sk-", secret[:-1], secret + "A", secret[:-1] + "é", secret[:-1] + "\n", secret + "\n"):
        assert keys.digest(other) is None


def test_key_is_active_until_it_expires_or_is_revoked() -> None:
    assert issued().record.is_active(1e12)
    assert issued(expires_at=10.0).record.is_active(9.9)
    assert not issued(expires_at=10.0).record.is_active(10)
    assert not issued(revoked_at=5.0).record.is_active(0)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"subject": "a b"}, "subject"),
        ({"tenant": "../x"}, "tenant"),
        ({"roles": ["a b"]}, "roles"),
        ({"expires_at": -1}, "expires_at"),
        ({"models": []}, "models"),
        ({"addresses": []}, "addresses"),
        ({"addresses": ["10.0.0.1/8"]}, "addresses"),
        ({"addresses": ["example.cn"]}, "addresses"),
    ],
)
def test_new_key_that_does_not_fit_is_refused_by_field(change: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        NewKey.model_validate({"name": "laptop", "subject": "zhangsan", **change})
    assert refused.value.errors()[0]["loc"][0] == field
