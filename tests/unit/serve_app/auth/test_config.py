"""The configuration of authentication."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.auth.config import AuthConfig

ISSUER: dict[str, Any] = {
    "issuer": "https://sso",
    "audience": "qwen",
    "algorithms": ["RS256"],
    "jwks_url": "https://sso/jwks",
}


def with_issuer(**changes: Any) -> dict[str, Any]:
    issuer = {name: value for name, value in {**ISSUER, **changes}.items() if value is not None}
    return {"secret_file": "jwt.key", "issuers": [issuer]}


@pytest.mark.parametrize(
    "url", ["https://sso/jwks", "http://127.0.0.1:8080/jwks", "http://localhost/", "http://[::1]/"]
)
def test_keys_come_over_https_or_from_this_machine(url: str) -> None:
    assert AuthConfig.model_validate(with_issuer(jwks_url=url))


@pytest.mark.parametrize(
    ("args", "location", "message"),
    [
        (with_issuer(jwks_url="http://sso/jwks"), ("issuers", 0, "jwks_url"), "write an https"),
        (with_issuer(jwks_url="http://127.0.0.1.evil.cn/"), ("issuers", 0, "jwks_url"), "write an https"),
        (with_issuer(jwks_url="file:///etc/keys"), ("issuers", 0, "jwks_url"), "write an https"),
        (with_issuer(jwks_url="https://u:p@sso/"), ("issuers", 0, "jwks_url"), "leave the credentials out"),
        (with_issuer(jwks_url=None), ("issuers", 0), "exactly one of"),
        (with_issuer(public_key_files=["a.pem"]), ("issuers", 0), "exactly one of"),
        (with_issuer(algorithms=["none"]), ("issuers", 0, "algorithms", 0), "RS256"),
        (with_issuer(algorithms=["HS256"]), ("issuers", 0, "algorithms", 0), "RS256"),
        (with_issuer(algorithms=[]), ("issuers", 0, "algorithms"), "at least 1"),
        (with_issuer(roles_claim="roles"), ("issuers", 0), "role_map: say what"),
        (with_issuer(jwks_max_stale_s=1), ("issuers", 0), "at least jwks_refresh_s"),
        (with_issuer(role_map={"a": "amdin"}), (), "issuers[0].role_map.a: there is no role 'amdin'"),
        (with_issuer(issuer="qwen-serve"), (), "issuers[0].issuer: 'qwen-serve' is taken"),
        ({"secret_file": "k", "roles": {"r": {"routes": ["chats"]}}}, ("roles", "r", "routes", 0), "chat"),
        ({"secret_file": "k", "roles": {"a b": {}}}, ("roles", "a b", "[key]"), "pattern"),
        ({"secret_file": "k", "sync_interval_s": 10}, ("sync_interval_s",), "less than or equal to 4"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(
    args: dict[str, Any], location: tuple[str | int, ...], message: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        AuthConfig.model_validate(args)
    first = refused.value.errors()[0]
    assert first["loc"] == location
    assert message in first["msg"]
