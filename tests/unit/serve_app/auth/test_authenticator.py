"""Who is asking: keys and tokens, and how failures are answered."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import jwt
import pytest

from serve_app.auth.attempts import Attempts
from serve_app.auth.authenticator import Authenticator
from serve_app.auth.changes import Changes, Revocation, RevokedKind
from serve_app.auth.credentials import Credentials
from serve_app.auth.outage import AuthenticationUnavailable
from serve_app.auth.principal import Principal
from serve_app.errors import Unauthenticated
from tests.unit.serve_app.auth.conftest import TOKENS, Clock, signed
from tests.unit.serve_app.auth.records import issued

HERE = "192.0.2.1"


def tell(credentials: Credentials, clock: Clock, *changes: object) -> None:
    keys = tuple(change.record for change in changes if hasattr(change, "record"))
    revocations = tuple(change for change in changes if isinstance(change, Revocation))
    credentials.apply(Changes(credentials.sequence + 1, keys, revocations, complete=False), clock())


async def test_api_key_and_token_are_taken_alike(
    authenticator: Authenticator, credentials: Credentials, clock: Clock
) -> None:
    key = issued()
    tell(credentials, clock, key)
    by_key = await authenticator.authenticate(f"Bearer {key.secret}", HERE)
    assert by_key == Principal("zhangsan", frozenset({"user"}), "research", key_id=key.record.id)
    assert credentials.take_uses().keys() == {key.record.id}

    by_token = await authenticator.authenticate(f"Bearer {TOKENS.issue('lisi', ['user'], 60)}", HERE)
    assert (by_token.subject, by_token.key_id) == ("lisi", None)
    outside = await authenticator.authenticate(f"Bearer {signed()}", None)
    assert outside.subject == "zhangsan"


async def test_revoked_key_is_refused(
    authenticator: Authenticator, credentials: Credentials, clock: Clock
) -> None:
    key = issued()
    tell(credentials, clock, key)
    await authenticator.authenticate(f"Bearer {key.secret}", HERE)
    tell(credentials, clock, replace(key, record=replace(key.record, revoked_at=1.0)))
    with pytest.raises(Unauthenticated, match="revoked"):
        await authenticator.authenticate(f"Bearer {key.secret}", HERE)


async def test_revoked_tokens_are_refused_by_id_and_by_subject(
    authenticator: Authenticator, credentials: Credentials, clock: Clock
) -> None:
    first, second = (TOKENS.issue("lisi", ["user"], 60) for _ in range(2))
    claims = jwt.decode(first, options={"verify_signature": False})
    tell(credentials, clock, Revocation(RevokedKind.TOKEN, claims["jti"], claims["iat"]))
    with pytest.raises(Unauthenticated, match="revoked"):
        await authenticator.authenticate(f"Bearer {first}", HERE)
    await authenticator.authenticate(f"Bearer {second}", HERE)

    tell(credentials, clock, Revocation(RevokedKind.SUBJECT, "lisi", claims["iat"] + 1))
    with pytest.raises(Unauthenticated, match="revoked"):
        await authenticator.authenticate(f"Bearer {second}", HERE)


async def test_key_of_certain_addresses_is_refused_elsewhere(
    authenticator: Authenticator, credentials: Credentials, clock: Clock
) -> None:
    key = issued(addresses=("192.0.2.0/24",))
    tell(credentials, clock, key)
    await authenticator.authenticate(f"Bearer {key.secret}", HERE)
    for address in ("198.51.100.1", None):
        with pytest.raises(Unauthenticated, match="this address"):
            await authenticator.authenticate(f"Bearer {key.secret}", address)


async def test_nobody_gets_in_on_a_copy_that_is_too_old(
    authenticator: Authenticator, credentials: Credentials, clock: Clock, waits: list[float]
) -> None:
    key = issued()
    tell(credentials, clock, key)
    clock.now += 301
    for credential in (key.secret, issued().secret, TOKENS.issue("lisi", ["user"], 60)):
        with pytest.raises(AuthenticationUnavailable):
            await authenticator.authenticate(f"Bearer {credential}", HERE)
    assert waits == []


async def test_failures_are_slowed_and_a_good_key_beside_them_is_not(
    authenticator: Authenticator, credentials: Credentials, clock: Clock, waits: list[float]
) -> None:
    key = issued()
    tell(credentials, clock, key)
    for _ in range(12):
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(f"Bearer {issued().secret}", HERE)
    assert len(waits) == 2
    await authenticator.authenticate(f"Bearer {key.secret}", HERE)
    assert len(waits) == 2


async def test_request_without_a_credential_is_no_attempt(
    authenticator: Authenticator, attempts: Attempts
) -> None:
    for _ in range(20):
        with pytest.raises(Unauthenticated, match="No API key given"):
            await authenticator.authenticate(None, HERE)
    assert len(attempts) == 0


async def test_outage_of_an_issuer_is_no_attempt(
    authenticator: Authenticator, attempts: Attempts, sso: object
) -> None:
    sso.document = {}  # type: ignore[attr-defined]
    found = await asyncio.gather(
        *(authenticator.authenticate(f"Bearer {signed()}", HERE) for _ in range(5)), return_exceptions=True
    )
    assert all(isinstance(each, AuthenticationUnavailable) for each in found)
    assert len(attempts) == 0
