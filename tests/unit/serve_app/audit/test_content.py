"""Prompts and answers, readable for one only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from serve_app.audit.content import ContentKeyError, ContentUnreadable, PrivateKey, Sealer, unseal
from tests.unit.serve_app.audit.conftest import RECORD

KEYS: list[PrivateKey] = [X25519PrivateKey.generate(), generate_private_key(65537, 2048)]
ASKED = replace(RECORD, prompt="写一首诗".encode(), answer="床前明月光".encode())


def sealed(fields: dict[str, object], name: str) -> dict[str, str]:
    return cast("dict[str, str]", fields[f"{name}_sealed"])


@pytest.mark.parametrize("key", KEYS)
def test_text_is_readable_with_the_private_key(key: PrivateKey) -> None:
    fields = Sealer(key.public_key(), 1000).fields(ASKED)
    assert unseal(key, sealed(fields, "prompt"), "prompt", "req-1").decode() == "写一首诗"
    assert unseal(key, sealed(fields, "answer"), "answer", "req-1").decode() == "床前明月光"
    assert fields.keys() == {"prompt_sealed", "answer_sealed"}


@pytest.mark.parametrize("key", KEYS)
def test_text_cannot_be_altered_or_moved(key: PrivateKey) -> None:
    content = sealed(Sealer(key.public_key(), 1000).fields(ASKED), "prompt")
    altered = content | {"text": "A" + content["text"][1:] if content["text"][0] != "A" else "B"}
    for wrong in (
        (altered, "prompt", "req-1"),
        (content, "answer", "req-1"),
        (content, "prompt", "req-2"),
        ({}, "prompt", "req-1"),
    ):
        with pytest.raises(ContentUnreadable):
            unseal(key, *wrong)


def test_text_is_for_one_key() -> None:
    content = sealed(Sealer(KEYS[0].public_key(), 1000).fields(ASKED), "prompt")
    for other in (X25519PrivateKey.generate(), KEYS[1]):
        with pytest.raises(ContentUnreadable):
            unseal(other, content, "prompt", "req-1")


def test_same_text_looks_different_each_time() -> None:
    sealer = Sealer(KEYS[0].public_key(), 1000)
    first, second = (sealed(sealer.fields(ASKED), "prompt") for _ in range(2))
    assert all(first[name] != second[name] for name in ("key", "nonce", "text"))


def test_long_text_is_cut_and_says_so() -> None:
    fields = Sealer(KEYS[0].public_key(), 10).fields(replace(ASKED, prompt=b"123456789012"))
    assert fields["prompt_cut"] is True
    assert unseal(KEYS[0], sealed(fields, "prompt"), "prompt", "req-1") == b"1234567890"


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (Ed25519PrivateKey.generate(), "neither"),
        (generate_private_key(65537, 1024), "2048 bits"),  # noqa: S505
        (None, "no public key"),
    ],
)
def test_unfit_key_is_refused(tmp_path: Path, key: Ed25519PrivateKey | None, reason: str) -> None:
    path = tmp_path / "key.pem"
    pem = (
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) if key else b"nothing"
    )
    path.write_bytes(pem)
    with pytest.raises(ContentKeyError, match=reason):
        Sealer.from_file(path, 1000)
    with pytest.raises(ContentKeyError, match="public_key_file"):
        Sealer.from_file(tmp_path / "none", 1000)
