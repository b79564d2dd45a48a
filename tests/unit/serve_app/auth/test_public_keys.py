"""Public keys of issuers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from serve_app.auth.public_keys import MAX_KEYS, PublicKeyError, read_jwks, read_pem
from tests.unit.serve_app.auth.conftest import EC, ED, OTHER_RSA, RSA, PrivateKey, jwk, pem

ALLOWED = ("RS256", "PS256", "ES256", "EdDSA")
SMALL_RSA = rsa.generate_private_key(65537, 1024)  # noqa: S505  (which is to be refused)
P384 = ec.generate_private_key(ec.SECP384R1())


def document(*keys: Any) -> bytes:
    return json.dumps({"keys": keys}).encode()


def test_each_key_is_for_the_signatures_that_its_type_makes() -> None:
    keys = read_jwks(document(jwk(RSA, kid="a"), jwk(EC, kid="b"), jwk(ED, kid="c")), ALLOWED)
    assert {key.kid: key.algorithms for key in keys} == {
        "a": frozenset({"RS256", "PS256"}),
        "b": frozenset({"ES256"}),
        "c": frozenset({"EdDSA"}),
    }


def test_alg_of_a_key_narrows_it() -> None:
    (key,) = read_jwks(document(jwk(RSA, kid="a", alg="PS256")), ALLOWED)
    assert key.algorithms == frozenset({"PS256"})


@pytest.mark.parametrize(
    "unfit",
    [
        {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0", "kid": "b", "alg": "HS256"},
        jwk(RSA, kid="b", use="enc"),
        jwk(RSA, kid="b", alg="HS256"),
        jwk(RSA, kid="b", alg="RS512"),
        jwk(RSA, kid=5),
        jwk(RSA, kid="x" * 300),
        jwk(SMALL_RSA, kid="b"),
        jwk(P384, kid="b"),
        {"kty": "RSA", "kid": "b"},
        {"kty": "RSA", "kid": "b", "n": 5, "e": []},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "b"},
        {"kty": ["RSA"], "kid": "b"},
        "no key",
        None,
    ],
    ids=str,
)
def test_key_that_does_not_fit_is_passed_over(unfit: Any) -> None:
    keys = read_jwks(document(unfit, jwk(EC, kid="a")), ALLOWED)
    assert [key.kid for key in keys] == ["a"]
    with pytest.raises(PublicKeyError, match="no key for"):
        read_jwks(document(unfit), ALLOWED)


def test_two_keys_under_one_kid_are_refused() -> None:
    for pair in (
        (jwk(RSA, kid="a"), jwk(OTHER_RSA, kid="a")),
        (jwk(RSA, kid="a"), jwk(EC, kid="a")),
        (jwk(RSA), jwk(EC)),
    ):
        with pytest.raises(PublicKeyError, match="two keys under one kid"):
            read_jwks(document(*pair), ALLOWED)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b"null",
        b'{"keys": {}}',
        b'{"keys": 5}',
        b"[" * 100_000,
        b'{"keys": ' + b"[" * 100_000,
        b"\xff\xfe",
        document(*[{}] * (MAX_KEYS + 1)),
    ],
    ids=lambda text: repr(text[:20]),
)
def test_what_is_no_jwks_is_refused(text: bytes) -> None:
    with pytest.raises(PublicKeyError):
        read_jwks(text, ALLOWED)


def test_private_part_of_a_published_key_is_not_read() -> None:
    private = {**jwk(RSA, kid="a"), "d": "AQAB", "p": "x", "q": "y"}
    (key,) = read_jwks(document(private), ALLOWED)
    assert not isinstance(key.key, rsa.RSAPrivateKey)


def test_files_hold_keys_in_pem_form(tmp_path: Path) -> None:
    files = []
    keys: tuple[PrivateKey, ...] = (RSA, EC, ED)
    for number, key in enumerate(keys):
        files.append(tmp_path / f"{number}.pem")
        files[-1].write_bytes(pem(key))
    assert [key.algorithms for key in read_pem(files, ALLOWED)] == [
        frozenset({"RS256", "PS256"}),
        frozenset({"ES256"}),
        frozenset({"EdDSA"}),
    ]


def test_file_that_does_not_fit_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    with pytest.raises(PublicKeyError, match="No such file"):
        read_pem([path], ALLOWED)
    path.write_bytes(EC.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(PublicKeyError, match="never for the private one"):
        read_pem([path], ALLOWED)
    path.write_bytes(pem(SMALL_RSA))
    with pytest.raises(PublicKeyError, match="2048 bits"):
        read_pem([path], ALLOWED)
    path.write_bytes(pem(EC))
    with pytest.raises(PublicKeyError, match="fits none"):
        read_pem([path], ("RS256",))
