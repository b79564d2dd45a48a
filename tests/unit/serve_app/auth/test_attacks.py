"""Ways in that are tried against such services. None of them works, and none costs more than its answer."""

from __future__ import annotations

import base64
import gc
import hashlib
import hmac
import json
import sys
import time
from typing import Any

import jwt
import pytest

from serve_app.auth import keys
from serve_app.auth.attempts import Attempts
from serve_app.auth.authenticator import Authenticator
from serve_app.auth.changes import Changes, Revocation, RevokedKind
from serve_app.auth.config import AttemptsConfig, RoleConfig
from serve_app.auth.credentials import Credentials
from serve_app.auth.outage import AuthenticationUnavailable
from serve_app.auth.roles import Roles
from serve_app.auth.tokens import Tokens
from serve_app.auth.verifier import Verifier
from serve_app.errors import Unauthenticated
from tests.unit.serve_app.auth.conftest import (
    EC,
    ISSUER,
    OTHER_RSA,
    RSA,
    SECRET,
    TOKENS,
    Clock,
    Sso,
    claims_with,
    jwk,
    pem,
    segment,
    signed,
)
from tests.unit.serve_app.auth.records import issued

HERE = "192.0.2.1"
NOW = int(time.time())
OWN = {"iss": "qwen-serve", "aud": "qwen-serve", "sub": "lisi", "iat": NOW, "exp": NOW + 86_400}


def by_hand(header: dict[str, Any], claims: dict[str, Any], secret: bytes = b"") -> str:
    """A token that no library would make; signed with HMAC where there is a secret."""
    signing_input = f"{segment(json.dumps(header).encode())}.{segment(json.dumps(claims).encode())}"
    digest = {"HS384": hashlib.sha384, "HS512": hashlib.sha512}.get(str(header.get("alg")), hashlib.sha256)
    signature = hmac.new(secret, signing_input.encode(), digest).digest() if secret else b""
    return f"{signing_input}.{segment(signature)}"


def nested(depth: int) -> str:
    return segment(b'{"a":' * depth + b"1" + b"}" * depth)


RSA_PEM, EC_PEM = pem(RSA), pem(EC)
RSA_DER = base64.b64decode(b"".join(RSA_PEM.splitlines()[1:-1]))
GOOD = signed()
HEADER, PAYLOAD, SIGNATURE = GOOD.split(".")

ENDLESS_NUMBER = b'{"exp":' + b"9" * 5000 + b"}"

ATTACKS: dict[str, str] = {
    # Algorithms
    **{
        f"alg {alg!r}, {whose}": by_hand({"alg": alg, "kid": "rsa-1"}, claims)
        for alg in ("none", "None", "NONE", "nOnE", "", None, 0, [], ["none"], {"a": 1})
        for whose, claims in (("own", OWN), ("outside", claims_with()))
    },
    "no alg": by_hand({"kid": "rsa-1"}, claims_with()),
    **{
        f"public key as {alg} secret, {form}": by_hand({"alg": alg, "kid": kid}, claims_with(), secret)
        for alg in ("HS256", "HS384", "HS512")
        for form, kid, secret in (
            ("RSA PEM", "rsa-1", RSA_PEM),
            ("RSA PEM without its line end", "rsa-1", RSA_PEM.strip()),
            ("RSA DER", "rsa-1", RSA_DER),
            ("EC PEM", "ec-1", EC_PEM),
        )
    },
    "own secret for the outside issuer": by_hand({"alg": "HS256", "kid": "rsa-1"}, claims_with(), SECRET),
    "outside key for the own issuer": jwt.encode(OWN, RSA, algorithm="RS256"),
    "another algorithm of the same key": signed(algorithm="PS256"),
    "another hash of the same key": signed(algorithm="RS512"),
    "RSA token that names the EC key": signed(headers={"kid": "ec-1"}),
    "ES256 header over an RSA signature": (
        f"{segment(json.dumps({'alg': 'ES256', 'kid': 'ec-1'}).encode())}.{PAYLOAD}.{SIGNATURE}"
    ),
    "ECDSA signature of zeros": (
        f"{segment(json.dumps({'alg': 'ES256', 'kid': 'ec-1'}).encode())}.{PAYLOAD}.{segment(bytes(64))}"
    ),
    # kid
    **{
        f"kid {kid[:30]!r}, {name}": by_hand({"alg": "HS256", "kid": kid}, claims_with(), secret)
        for kid in (
            "../../../../dev/null",
            "/etc/passwd",
            "rsa-1' UNION SELECT 'secret' -- ",
            "| sleep 10",
            "x" * 3000,
            "\x00",
        )
        for name, secret in (("empty secret", b"\x00"), ("chosen secret", b"secret"))
    },
    **{
        f"kid of another type: {kid!r}": by_hand({"alg": "RS256", "kid": kid}, claims_with())
        for kid in (5, ["rsa-1"], {"kid": "rsa-1"}, True)
    },
    "unknown kid": signed(headers={"kid": "rsa-2"}),
    "unknown kid under the right signature": signed(headers={"kid": "RSA-1"}),
    # Keys that the token brings along
    "jwk header": signed(OTHER_RSA, headers={"jwk": jwk(OTHER_RSA, kid="rsa-1")}),
    "jwk header without kid": signed(OTHER_RSA, headers={"kid": "", "jwk": jwk(OTHER_RSA)}),
    "x5c header": signed(OTHER_RSA, headers={"x5c": [base64.b64encode(RSA_DER).decode()]}),
    "crit header": signed(headers={"crit": ["exp"], "exp": 1}),
    "unencoded payload": signed(headers={"crit": ["b64"], "b64": False}),
    # Claims
    "expired": signed(exp=NOW - 3600),
    "not yet valid": signed(nbf=NOW + 3600),
    "issued in the future": signed(iat=NOW + 3600),
    "no exp": signed(exp=None),
    "no exp, own": by_hand({"alg": "HS256"}, {k: v for k, v in OWN.items() if k != "exp"}, SECRET),
    "no iss": signed(iss=None),
    "no aud": signed(aud=None),
    "no sub": signed(sub=None),
    "wrong audience": signed(aud="another-service"),
    "audience that begins alike": signed(aud="qwen-2"),
    "wrong issuer": signed(iss="https://evil.example"),
    "issuer that begins alike": signed(iss=ISSUER + "/"),
    "list of issuers": by_hand({"alg": "RS256", "kid": "rsa-1"}, claims_with() | {"iss": [ISSUER]}),
    "exp beyond all numbers": by_hand({"alg": "HS256"}, OWN | {"exp": float("inf")}, SECRET),
    "exp is no number": by_hand({"alg": "HS256"}, OWN | {"exp": float("nan")}, SECRET),
    "own token, another secret": Tokens(b"x" * 32, issuer="qwen-serve", audience="qwen-serve").issue(
        "lisi", ["admin"], 60
    ),
    # Forms
    "altered payload": f"{HEADER}.{segment(json.dumps(claims_with(sub='root')).encode())}.{SIGNATURE}",
    "no signature": f"{HEADER}.{PAYLOAD}.",
    "two segments": f"{HEADER}.{PAYLOAD}",
    "four segments": f"{GOOD}.{SIGNATURE}",
    "five segments, as of JWE": f"{GOOD}.{SIGNATURE}.{SIGNATURE}",
    "white space inside": f"{HEADER}. {PAYLOAD}.{SIGNATURE}",
    "JSON form": json.dumps({"protected": HEADER, "payload": PAYLOAD, "signature": SIGNATURE}),
    "oversized": signed(extra="x" * 10_000),
    "deep header": f"{nested(1000)}.{PAYLOAD}.{SIGNATURE}",
    "deep payload": f"{HEADER}.{nested(900)}.{SIGNATURE}",
    "number of 5000 digits": f"{HEADER}.{segment(ENDLESS_NUMBER)}.{SIGNATURE}",
    "null bytes": "\x00" * 50,
    "lone surrogate": "sk-" + "\ud800" * 43,
    "not ascii": "é" * 43,
    # API keys
    "empty key": "sk-",
    "short key": "sk-" + "A" * 42,
    "long key": "sk-" + "A" * 44,
    "SQL in a key": "sk-' OR '1'='1",
    "unknown key": "sk-" + "A" * 43,
    "JWT behind a key's prefix": f"sk-{GOOD}",
    "digest in place of the key": "sk-" + segment(bytes(32)),
}


@pytest.mark.parametrize("credential", ATTACKS.values(), ids=ATTACKS.keys())
async def test_attack_is_refused(authenticator: Authenticator, sso: Sso, credential: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await authenticator.authenticate(f"Bearer {credential}", HERE)
    assert refused.value.headers["www-authenticate"]
    if len(credential) > 10:
        assert credential not in refused.value.message
    assert set(sso.paths) <= {"/jwks"}


async def test_tokens_that_they_were_made_of_get_in(authenticator: Authenticator) -> None:
    assert (await authenticator.authenticate(f"Bearer {GOOD}", HERE)).subject == "zhangsan"
    own = by_hand({"alg": "HS256"}, OWN, SECRET)
    assert (await authenticator.authenticate(f"Bearer {own}", HERE)).subject == "lisi"


@pytest.mark.parametrize("header", ["jku", "x5u"])
async def test_address_in_a_token_is_never_asked(
    authenticator: Authenticator, sso: Sso, server: Any, header: str
) -> None:
    address = str(server.make_url("/evil"))
    with pytest.raises(Unauthenticated):
        await authenticator.authenticate(f"Bearer {signed(OTHER_RSA, headers={header: address})}", HERE)
    assert sso.paths == ["/jwks"]


async def test_two_keys_under_one_kid_let_nobody_in(authenticator: Authenticator, sso: Sso) -> None:
    sso.document = {"keys": [jwk(OTHER_RSA, kid="rsa-1"), jwk(RSA, kid="rsa-1")]}
    for token in (GOOD, signed(OTHER_RSA)):
        with pytest.raises(AuthenticationUnavailable):
            await authenticator.authenticate(f"Bearer {token}", HERE)


async def test_symmetric_key_in_a_jwks_signs_nothing(authenticator: Authenticator, sso: Sso) -> None:
    secret = b"published-by-mistake-published-b"
    sso.document["keys"].append({"kty": "oct", "kid": "oct-1", "alg": "HS256", "k": segment(secret)})
    for algorithm in ("HS256", "RS256"):
        token = by_hand({"alg": algorithm, "kid": "oct-1"}, claims_with(), secret)
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(f"Bearer {token}", HERE)


async def test_roles_come_from_the_configured_claim_alone(authenticator: Authenticator) -> None:
    token = signed(
        roles=["admin"],
        role="admin",
        groups=["admin"],
        scope="admin",
        admin=True,
        realm_access={"roles": ["staff", "admin", "ops"]},
        tenant="finance",
        models=["*"],
        key_id="key_1",
    )
    principal = await authenticator.authenticate(f"Bearer {token}", HERE)
    assert principal.roles == {"user"}
    assert (principal.tenant, principal.key_id, principal.models) == ("default", None, None)
    assert not Roles({"user": RoleConfig(models=("*",)), "admin": RoleConfig(admin=True)}).is_admin(principal)


async def test_key_never_speaks_for_another_tenant(
    authenticator: Authenticator, credentials: Credentials, clock: Clock
) -> None:
    ours, theirs = issued(tenant="research"), issued(tenant="finance", name="laptop")
    credentials.apply(Changes(2, (ours.record, theirs.record), (), complete=False), clock())
    for key in (ours, theirs):
        principal = await authenticator.authenticate(f"Bearer {key.secret}", HERE)
        assert (principal.tenant, principal.key_id) == (key.record.tenant, key.record.id)
    mixed = ours.secret[:-20] + theirs.secret[-20:]
    for credential in (mixed, ours.record.id, "sk-" + segment(ours.record.digest), ours.secret.lower()):
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(f"Bearer {credential}", HERE)


async def test_revoked_token_stays_out_however_it_is_written(
    authenticator: Authenticator, credentials: Credentials, clock: Clock
) -> None:
    token = signed(jti="jti-1")
    revocation = Revocation(RevokedKind.TOKEN, "jti-1", NOW)
    credentials.apply(Changes(2, (), (revocation,), complete=False), clock())
    # A signature of 256 bytes ends in base64 with 4 bits that mean nothing: another letter, the same bytes.
    last = token[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = token[:-1] + alphabet[alphabet.index(last) ^ 1]
    for form in (token, twin, token + "=", token + "=="):
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(f"Bearer {form}", HERE)


async def test_revoked_subject_stays_out_with_a_token_that_hides_its_age(
    authenticator: Authenticator, credentials: Credentials, clock: Clock
) -> None:
    revocation = Revocation(RevokedKind.SUBJECT, "zhangsan", NOW)
    credentials.apply(Changes(2, (), (revocation,), complete=False), clock())
    for token in (signed(iat=NOW), signed(iat=None), signed(iat=NOW, jti="new")):
        with pytest.raises(Unauthenticated, match="revoked"):
            await authenticator.authenticate(f"Bearer {token}", HERE)


async def test_100_000_wrong_keys_leave_nothing_behind(credentials: Credentials) -> None:
    async def sleep(_: float) -> None:
        pass

    attempts = Attempts(AttemptsConfig(max_tracked_addresses=1000), sleep=sleep)
    authenticator = Authenticator(credentials, Verifier(TOKENS), attempts)
    wrong = [f"Bearer {keys.new_secret()}" for _ in range(100)]

    async def attack(start: int, count: int) -> None:
        for number in range(start, start + count):
            address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
            try:
                await authenticator.authenticate(wrong[number % 100], address)
            except Unauthenticated:
                continue
            raise AssertionError("let in")

    await attack(0, 10_000)
    gc.collect()
    before = sys.getallocatedblocks()
    await attack(10_000, 90_000)
    gc.collect()
    assert sys.getallocatedblocks() - before < 1000
    assert len(attempts) == 1000
    assert len(credentials) == 0
    assert credentials.take_uses() == {}
