"""Prompts and answers, encrypted for one who may read them, so that the platform itself cannot.

A key of its own encrypts each text with AES-256-GCM. RSA encrypts that key (OAEP with SHA-256); with
X25519 it is derived from a key pair made for the text alone (HKDF with SHA-256, as in RFC 9180's idea
of a KEM). The request id is bound to the text: it cannot be moved to another record.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from serve_app.audit.record import AuditRecord

MIN_RSA_BITS: Final = 2048
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32
_X25519: Final = "X25519-HKDF-SHA256-A256GCM"
_RSA: Final = "RSA-OAEP-256-A256GCM"
_PURPOSE: Final = b"qwen-serve audit content"
_OAEP: Final = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)

PublicKey: TypeAlias = X25519PublicKey | RSAPublicKey
PrivateKey: TypeAlias = X25519PrivateKey | RSAPrivateKey


class ContentKeyError(Exception):
    """The public key for prompts and answers is missing or unfit. The message says what to do."""


class ContentUnreadable(Exception):
    """What was encrypted cannot be read with this key, or was altered."""


class Sealer:
    """Encrypts prompts and answers.

    Args:
        key: Of the one who may read them.
        max_bytes: Longer texts are cut.
    """

    def __init__(self, key: PublicKey, max_bytes: int) -> None:
        self._key = key
        self._max_bytes = max_bytes

    @classmethod
    def from_file(cls, path: Path, max_bytes: int) -> Sealer:
        """With the public key in a PEM file.

        Raises:
            ContentKeyError: There is none that fits.
        """
        try:
            key = load_pem_public_key(path.read_bytes())
        except OSError as error:
            raise ContentKeyError(
                f"Cannot read audit.content.public_key_file {path}: {error.strerror}."
            ) from error
        except ValueError as error:
            raise ContentKeyError(f"{path} holds no public key in PEM form.") from error
        if isinstance(key, RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
            return cls(key, max_bytes)
        if isinstance(key, X25519PublicKey):
            return cls(key, max_bytes)
        raise ContentKeyError(
            f"{path} is neither an X25519 key nor an RSA key of {MIN_RSA_BITS} bits or more."
        )

    def fields(self, record: AuditRecord) -> dict[str, object]:
        """What the record's line says of its prompt and answer."""
        sealed: dict[str, object] = {}
        for name, content in (("prompt", record.prompt), ("answer", record.answer)):
            if content is not None:
                cut = content[: self._max_bytes]
                sealed[f"{name}_sealed"] = self._seal(cut, _binding(name, record.request_id))
                if len(cut) < len(content):
                    sealed[f"{name}_cut"] = True
        return sealed

    def _seal(self, content: bytes, binding: bytes) -> dict[str, str]:
        nonce = os.urandom(_NONCE_BYTES)
        if isinstance(self._key, RSAPublicKey):
            algorithm, secret = _RSA, os.urandom(_KEY_BYTES)
            wrapped = self._key.encrypt(secret, _OAEP)
        else:
            algorithm, ephemeral = _X25519, X25519PrivateKey.generate()
            wrapped = ephemeral.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            secret = _derive(ephemeral.exchange(self._key), wrapped, self._key)
        text = AESGCM(secret).encrypt(nonce, content, binding)
        return {
            "algorithm": algorithm,
            "key": _encode(wrapped),
            "nonce": _encode(nonce),
            "text": _encode(text),
        }


def read_private(path: Path) -> PrivateKey:
    """The private key in a PEM file.

    Raises:
        ContentKeyError: There is none that fits.
    """
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ContentKeyError(f"Cannot read {path}: {error.strerror}.") from error
    except (ValueError, TypeError) as error:
        raise ContentKeyError(f"{path} holds no private key in PEM form without a password.") from error
    if not isinstance(key, X25519PrivateKey | RSAPrivateKey):
        raise ContentKeyError(f"{path} holds neither an X25519 nor an RSA key.")
    return key


def unseal(key: PrivateKey, sealed: dict[str, str], name: str, request_id: str) -> bytes:
    """A prompt or an answer in the clear.

    Args:
        key: The private key that belongs to the configured public one.
        sealed: The field ``prompt_sealed`` or ``answer_sealed`` of a line.
        name: ``prompt`` or ``answer``.
        request_id: Of the same line.

    Raises:
        ContentUnreadable: It is not for this key, or was altered or moved.
    """
    try:
        wrapped, nonce, text = (base64.b64decode(sealed[field]) for field in ("key", "nonce", "text"))
        if isinstance(key, RSAPrivateKey):
            secret = key.decrypt(wrapped, _OAEP)
        else:
            shared = key.exchange(X25519PublicKey.from_public_bytes(wrapped))
            secret = _derive(shared, wrapped, key.public_key())
        return AESGCM(secret).decrypt(nonce, text, _binding(name, request_id))
    except (InvalidTag, ValueError, KeyError) as error:
        raise ContentUnreadable("The text is not for this key, or was altered or moved.") from error


def _derive(shared: bytes, wrapped: bytes, key: X25519PublicKey) -> bytes:
    """The key of one text; both public keys go into it, so that it belongs to this pair alone."""
    info = _PURPOSE + wrapped + key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return HKDF(hashes.SHA256(), _KEY_BYTES, None, info).derive(shared)


def _binding(name: str, request_id: str) -> bytes:
    return f"{name}\n{request_id}".encode(errors="replace")


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode()
