"""Tokens that hold, and every kind that does not."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
import pytest

from serve_app.auth.principal import Principal
from serve_app.auth.tokens import Tokens, duration_s
from serve_app.errors import Unauthenticated

SECRET = b"0123456789abcdef0123456789abcdef"
OTHER = b"fedcba9876543210fedcba9876543210"
TOKENS = Tokens(SECRET, issuer="qwen-serve", audience="qwen-serve", leeway_s=5)


def signed(secret: bytes = SECRET, *, without: str = "", **changes: Any) -> str:
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": "qwen-serve",
        "aud": "qwen-serve",
        "sub": "zhangsan",
        "roles": ["user"],
        "iat": now,
        "exp": now + 60,
        **changes,
    }
    claims.pop(without, None)
    return jwt.encode(claims, secret, algorithm="HS256")


def segment(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def test_issued_token_names_its_principal() -> None:
    before = int(time.time())
    token = TOKENS.issue("zhangsan", ["user", "admin", "user"], 60, tenant="research")
    token_id = jwt.decode(token, options={"verify_signature": False})["jti"]
    read = TOKENS.read(token)
    assert read.principal == Principal(
        "zhangsan", frozenset({"user", "admin"}), "research", token_id=token_id
    )
    assert before <= read.issued_at_s <= time.time()
    assert TOKENS.verify(f"Bearer {token}") == read.principal


def test_token_without_a_tenant_is_of_the_default_one() -> None:
    assert TOKENS.read(signed()).principal == Principal("zhangsan", frozenset({"user"}), "default")


def test_leeway_forgives_a_clock_that_runs_behind() -> None:
    assert TOKENS.verify(f"Bearer {signed(exp=int(time.time()) - 2)}")


def test_issued_tokens_differ() -> None:
    assert TOKENS.issue("a", [], 60) != TOKENS.issue("a", [], 60)


NOW = int(time.time())
REFUSED = {
    "expired": signed(exp=NOW - 60),
    "not yet valid": signed(nbf=NOW + 600),
    "issued in the future": signed(iat=NOW + 600),
    "other secret": signed(OTHER),
    "other issuer": signed(iss="elsewhere"),
    "other audience": signed(aud="elsewhere"),
    "no expiry": signed(without="exp"),
    "no subject": signed(without="sub"),
    "no issuer": signed(without="iss"),
    "no audience": signed(without="aud"),
    "empty subject": signed(sub=""),
    "subject is a number": jwt.encode({"sub": 5, "exp": NOW + 60}, SECRET, algorithm="HS256"),
    "roles are text": signed(roles="admin"),
    "roles hold numbers": signed(roles=[1]),
    "expiry is text": signed(exp="never"),
    "tenant is a list": signed(tenant=["research"]),
    "tenant is empty": signed(tenant=""),
    "token id is a number": signed(jti=5),
    "subject breaks the line": signed(sub="zhang\nsan"),
    "subject is half a character": signed(sub="\ud800"),
    "subject is endless": signed(sub="x" * 300),
    "other algorithm": jwt.encode({"sub": "a", "exp": NOW + 60}, SECRET * 2, algorithm="HS512"),
    "alg none": f"{segment(json.dumps({'alg': 'none'}).encode())}.{segment(b'{}')}.",
    "alg none, cased": f"{segment(json.dumps({'alg': 'nOnE'}).encode())}.{segment(b'{}')}.",
    "deeply nested header": f"{segment(b'[' * 5000)}.{segment(b'{}')}.x",
    "header of another type": f"{segment(b'[]')}.{segment(b'{}')}.x",
    "not base64": "!.!.!",
    "not ascii": "é.ü.ß",
    "two segments": "a.b",
    "cut": signed()[:-2],
    "oversized": signed(extra="x" * 9000),
}


@pytest.mark.parametrize("token", REFUSED.values(), ids=REFUSED.keys())
def test_token_that_does_not_hold_is_refused(token: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        TOKENS.verify(f"Bearer {token}")
    assert token not in refused.value.message
    assert refused.value.headers["www-authenticate"]


def test_missing_header_says_how_to_get_a_token() -> None:
    with pytest.raises(Unauthenticated, match="qwen-serve token"):
        TOKENS.verify(None)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("5m", 300), ("12h", 43200), ("30d", 2592000)])
def test_duration_is_read(text: str, seconds: int) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "0d", "1y", "1.5h", "30 days"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="30d"):
        duration_s(text)
