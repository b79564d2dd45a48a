"""The signing key's file, and what its signatures are good for."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from serve_app.audit import signing
from serve_app.audit.signing import SigningKeyError
from tests.unit.serve_app.audit.conftest import SIGNER


def test_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "audit.key"
    first = signing.ensure(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert signing.ensure(path).key_id == first.key_id
    assert [file.name for file in path.parent.iterdir()] == ["audit.key"]


def test_threads_that_race_agree_on_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert (
            len({signer.key_id for signer in pool.map(lambda _: signing.ensure(tmp_path / "k"), range(16))})
            == 1
        )


def test_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "audit.key"
    signing.ensure(path)
    path.chmod(0o644)
    with pytest.raises(SigningKeyError, match="chmod 600"):
        signing.ensure(path)


def test_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "audit.key"
    key = X25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    for read in (signing.ensure, lambda path: signing.read_public([path])):
        with pytest.raises(SigningKeyError, match="Ed25519 only"):
            read(path)


def test_public_part_is_read_from_either_file(tmp_path: Path) -> None:
    path, public = tmp_path / "audit.key", tmp_path / "audit.pub"
    signer = signing.ensure(path)
    (key,) = signer.verifier.keys
    public.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert signing.read_public([path]).key_ids == signing.read_public([public]).key_ids == (signer.key_id,)


def test_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(SigningKeyError, match="Cannot read"):
        signing.read_public([tmp_path / "none"])


def test_signature_is_for_one_purpose_one_body_and_in_one_form() -> None:
    signed = SIGNER.sign("close", b'{"a":1')
    holds = SIGNER.verifier.holds
    assert holds("close", SIGNER.key_id, signed)
    assert not holds("head", SIGNER.key_id, signed)
    assert not holds("close", "0" * 16, signed)
    assert not holds("close", SIGNER.key_id, signed.replace(b"1", b"2", 1))
    assert not holds("close", SIGNER.key_id, signed[:-129] + signed[-129:].upper())
    assert not holds("close", SIGNER.key_id, b"")
