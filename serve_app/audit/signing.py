"""The key that signs closing records and heads, and what it has signed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from serve_app import private_file

_FIELD: Final = b',"signature":"'
_HEX_CHARS: Final = 128
_SUFFIX_BYTES: Final = len(_FIELD) + _HEX_CHARS + 1


class SigningKeyError(Exception):
    """The signing key is missing or unfit. The message says what to do."""


class Signer:
    """Signs for one chain.

    Args:
        key: The private key.
    """

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.verifier = Verifier([key.public_key()])
        (self.key_id,) = self.verifier.key_ids

    def sign(self, purpose: str, body: bytes) -> bytes:
        """The body with the field ``signature`` behind it; a closing brace is still to come.

        Args:
            purpose: Nothing that is signed for one purpose passes for another.
            body: A JSON object without its closing brace.
        """
        return body + _FIELD + self._key.sign(_message(purpose, body)).hex().encode() + b'"'


class Verifier:
    """Checks signatures.

    Args:
        keys: The public keys whose signatures hold.
    """

    def __init__(self, keys: Iterable[Ed25519PublicKey]) -> None:
        self._keys = {_key_id(key): key for key in keys}

    @property
    def keys(self) -> tuple[Ed25519PublicKey, ...]:
        """The keys themselves."""
        return tuple(self._keys.values())

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Names of the keys, each made of the key itself."""
        return tuple(self._keys)

    def holds(self, purpose: str, key_id: str, signed: bytes) -> bool:
        """Whether what ``Signer.sign`` has made is unchanged, and by that key."""
        key = self._keys.get(key_id)
        body, suffix = signed[:-_SUFFIX_BYTES], signed[-_SUFFIX_BYTES:]
        digits = suffix[len(_FIELD) : -1]
        try:
            signature = bytes.fromhex(digits.decode("ascii"))
        except ValueError:
            return False
        # Other ways to write the same signature are changes too.
        if key is None or suffix != _FIELD + signature.hex().encode() + b'"':
            return False
        try:
            key.verify(signature, _message(purpose, body))
        except InvalidSignature:
            return False
        return True


def ensure(path: Path) -> Signer:
    """The signing key in a file, made first where there is none.

    Raises:
        SigningKeyError: The file is there but unfit, or its folder cannot be written.
    """
    if path.exists():
        return read(path)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        private_file.make(path, pem)
    except OSError as error:
        raise SigningKeyError(f"Cannot write the audit's signing key {path}: {error.strerror}.") from error
    return read(path)


def read(path: Path) -> Signer:
    """The signing key in a file.

    Raises:
        SigningKeyError: No such file, open to others, or not a private Ed25519 key.
    """
    pem = _content(path)
    if private_file.is_open(path):
        raise SigningKeyError(f"The audit's signing key {path} is open to others; run `chmod 600 {path}`.")
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise SigningKeyError(f"{path} holds no private key in PEM form without a password.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningKeyError(f"{path} holds a private key, but the audit signs with Ed25519 only.")
    return Signer(key)


def read_public(paths: Iterable[Path]) -> Verifier:
    """The public keys in files, each a public key or a private one with its public part.

    Raises:
        SigningKeyError: A file is missing, or holds no Ed25519 key.
    """
    return Verifier(_public_key(path) for path in paths)


def _public_key(path: Path) -> Ed25519PublicKey:
    pem = _content(path)
    try:
        if b"PRIVATE KEY" in pem:
            private = load_pem_private_key(pem, password=None)
            key = private.public_key()
        else:
            key = load_pem_public_key(pem)
    except (ValueError, TypeError) as error:
        raise SigningKeyError(f"{path} holds no key in PEM form without a password.") from error
    if not isinstance(key, Ed25519PublicKey):
        raise SigningKeyError(f"{path} holds a key, but the audit signs with Ed25519 only.")
    return key


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SigningKeyError(f"Cannot read the audit's key {path}: {error.strerror}.") from error


def _message(purpose: str, body: bytes) -> bytes:
    return f"qwen-serve audit {purpose}\n".encode() + body


def _key_id(key: Ed25519PublicKey) -> str:
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]
