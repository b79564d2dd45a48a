"""Public keys of an issuer, from a JWKS or PEM files, and which signatures each of them fits."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

MAX_KEYS = 100
MAX_KEY_ID_CHARS = 256
MIN_RSA_BITS = 2048
"""RFC 7518, 3.3."""

VerifyingKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

_RSA_ALGORITHMS: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVE_ALGORITHMS: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_PUBLIC_MEMBERS: Final = ("kty", "crv", "n", "e", "x", "y")


class PublicKeyError(Exception):
    """A key file or a JWKS is missing or unfit. The message says what to do."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies signatures.

    Attributes:
        kid: Its name in a JWKS, if it has one. Only ever compared.
        key: The key itself.
        algorithms: The signatures that it may verify, by its type and by what its issuer says.
    """

    kid: str | None
    key: VerifyingKey
    algorithms: frozenset[str]


def read_pem(paths: Iterable[Path], allowed: Collection[str]) -> tuple[PublicKey, ...]:
    """The keys of PEM files.

    Raises:
        PublicKeyError: A file cannot be read, or has no public key that fits one of the algorithms.
    """
    keys = []
    for path in paths:
        try:
            key = load_pem_public_key(path.read_bytes())
        except OSError as error:
            raise PublicKeyError(f"Cannot read the public key {path}: {error.strerror}.") from error
        except (ValueError, UnsupportedAlgorithm) as error:
            raise PublicKeyError(
                f"{path} is not a public key in PEM form (-----BEGIN PUBLIC KEY-----); "
                "ask the issuer for its public key, never for the private one."
            ) from error
        algorithms = _fitting(key) & set(allowed)
        if not algorithms:
            raise PublicKeyError(
                f"The public key {path} fits none of the algorithms {', '.join(allowed)}; RS and PS need RSA "
                f"of {MIN_RSA_BITS} bits, ES256 P-256, ES384 P-384, ES512 P-521, EdDSA Ed25519."
            )
        assert isinstance(key, VerifyingKey)
        keys.append(PublicKey(None, key, algorithms))
    return tuple(keys)


def read_jwks(document: bytes, allowed: Collection[str]) -> tuple[PublicKey, ...]:
    """The keys of a JWKS (RFC 7517, 5) that can verify an allowed signature; others are passed over.

    Raises:
        PublicKeyError: Not a JWKS, no usable key in it, or two usable keys under one ``kid``: which of
            them a token means would be a matter of luck.
    """
    try:
        entries = json.loads(document)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PublicKeyError("The document is not a JWKS.") from error
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise PublicKeyError(f"The document is not a JWKS of at most {MAX_KEYS} keys.")
    keys = tuple(key for entry in entries if (key := _from_jwk(entry, allowed)) is not None)
    if not keys:
        raise PublicKeyError(f"The JWKS has no key for {', '.join(allowed)}.")
    names = [key.kid for key in keys]
    if len(set(names)) < len(names):
        raise PublicKeyError("The JWKS has two keys under one kid, or two without any.")
    return keys


def _from_jwk(entry: Any, allowed: Collection[str]) -> PublicKey | None:
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    kid, algorithm = entry.get("kid"), entry.get("alg")
    if not (kid is None or (isinstance(kid, str) and len(kid) <= MAX_KEY_ID_CHARS)):
        return None
    family = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}.get(str(entry.get("kty")))
    if family is None:
        return None
    try:
        # Public members only: were an issuer to publish a private key, it would still only verify.
        public = {name: entry[name] for name in _PUBLIC_MEMBERS if name in entry}
        key = jwt.PyJWK(public, family).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        return None
    algorithms = _fitting(key) & set(allowed)
    if algorithm is not None:
        algorithms &= {str(algorithm)}
    return PublicKey(kid, key, algorithms) if algorithms else None


def _fitting(key: object) -> frozenset[str]:
    """The signatures that a key's type can make, so that no token chooses another use of it."""
    if isinstance(key, RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        return _RSA_ALGORITHMS
    if isinstance(key, EllipticCurvePublicKey) and key.curve.name in _CURVE_ALGORITHMS:
        return frozenset({_CURVE_ALGORITHMS[key.curve.name]})
    if isinstance(key, Ed25519PublicKey):
        return frozenset({"EdDSA"})
    return frozenset()
