"""Tokens of several issuers."""

from __future__ import annotations

from pathlib import Path

import pytest

from serve_app.auth.config import IssuerConfig
from serve_app.auth.outage import AuthenticationUnavailable
from serve_app.auth.principal import Principal
from serve_app.auth.public_keys import PublicKeyError
from serve_app.auth.verifier import Verifier
from serve_app.errors import Unauthenticated
from tests.unit.serve_app.auth.conftest import (
    EC,
    ED,
    ISSUER,
    OTHER_RSA,
    RSA,
    TOKENS,
    PrivateKey,
    Sso,
    pem,
    signed,
)


async def test_each_issuer_verifies_its_own_tokens(verifier: Verifier) -> None:
    own = await verifier.read(TOKENS.issue("lisi", ["user"], 60))
    assert own.principal.subject == "lisi"
    outside = await verifier.read(signed())
    assert outside.principal == Principal("zhangsan", frozenset({"user"}))
    assert (await verifier.read(signed(EC, "ES256", {"kid": "ec-1"}))).principal == outside.principal


async def test_own_tokens_need_no_outside_issuer(verifier: Verifier, sso: Sso) -> None:
    await verifier.read(TOKENS.issue("lisi", ["user"], 60))
    assert sso.paths == []


async def test_expired_token_is_said_to_have_expired(verifier: Verifier) -> None:
    with pytest.raises(Unauthenticated, match="expired"):
        await verifier.read(signed(exp=1_700_000_000))


async def test_issuer_that_is_down_is_no_verdict_on_its_tokens(verifier: Verifier, sso: Sso) -> None:
    sso.document = {}
    with pytest.raises(AuthenticationUnavailable):
        await verifier.read(signed())


async def test_keys_from_files_are_tried_in_turn(tmp_path: Path) -> None:
    files = []
    keys: tuple[PrivateKey, ...] = (OTHER_RSA, RSA, ED)
    for number, key in enumerate(keys):
        files.append(tmp_path / f"{number}.pem")
        files[-1].write_bytes(pem(key))
    config = IssuerConfig(
        issuer=ISSUER, audience="qwen", algorithms=("RS256", "EdDSA"), public_key_files=tuple(files)
    )
    verifier = Verifier(TOKENS, [config])
    assert (await verifier.read(signed(RSA))).principal.subject == "zhangsan"
    assert (await verifier.read(signed(ED, "EdDSA"))).principal.subject == "zhangsan"
    with pytest.raises(Unauthenticated):
        await verifier.read(signed(EC, "ES256"))
    await verifier.close()


async def test_key_file_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    config = IssuerConfig(
        issuer=ISSUER, audience="qwen", algorithms=("RS256",), public_key_files=(tmp_path / "none.pem",)
    )
    with pytest.raises(PublicKeyError, match=r"none\.pem"):
        Verifier(TOKENS, [config])
