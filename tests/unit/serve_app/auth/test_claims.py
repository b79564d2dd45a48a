"""What an issuer's claims mean."""

from __future__ import annotations

from typing import Any

import pytest

from serve_app.auth.claims import claim, identity_of
from serve_app.auth.config import IssuerConfig
from serve_app.auth.principal import Principal
from serve_app.errors import Unauthenticated

CONFIG = IssuerConfig.model_validate(
    {
        "issuer": "https://sso",
        "audience": "qwen",
        "algorithms": ["RS256"],
        "jwks_url": "https://sso/jwks",
        "subject_claim": "email",
        "tenant_claim": "org.unit",
        "roles_claim": "realm_access.roles",
        "role_map": {"staff": "user", "ops": "admin"},
        "required_claims": ["amr"],
    }
)


def claims(**changes: Any) -> dict[str, Any]:
    return {
        "email": "zhangsan@example.cn",
        "org": {"unit": "research"},
        "realm_access": {"roles": ["staff", "admin", "unheard-of"]},
        "amr": ["pwd"],
        "iat": 100,
        "jti": "jti-1",
        **changes,
    }


def test_claims_are_taken_from_their_paths_and_roles_by_the_map_alone() -> None:
    assert identity_of(claims(), CONFIG).principal == Principal(
        "zhangsan@example.cn", frozenset({"user"}), "research", token_id="jti-1"
    )


def test_missing_roles_are_none() -> None:
    assert identity_of(claims(realm_access={}), CONFIG).principal.roles == frozenset()


def test_issuer_without_claim_paths_has_one_tenant_and_no_roles() -> None:
    plain = CONFIG.model_copy(
        update={"tenant_claim": None, "roles_claim": None, "subject_claim": "sub", "tenant": "sso"}
    )
    found = identity_of(claims(sub="lisi", tenant="research", roles=["admin"]), plain)
    assert (found.principal.tenant, found.principal.roles) == ("sso", frozenset())


def test_time_of_issue_that_is_not_said_is_the_beginning() -> None:
    without = claims()
    del without["iat"]
    assert identity_of(without, CONFIG).issued_at_s == 0


@pytest.mark.parametrize(
    "change",
    [
        {"email": None},
        {"email": ""},
        {"email": 5},
        {"email": "a\x00b"},
        {"org": {}},
        {"org": "research"},
        {"org": {"unit": ["research"]}},
        {"realm_access": {"roles": "staff"}},
        {"realm_access": {"roles": [1]}},
        {"amr": None},
        {"jti": 5},
    ],
    ids=str,
)
def test_claims_of_another_form_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        identity_of(claims(**change), CONFIG)


def test_claim_whose_name_has_dots_comes_before_a_path() -> None:
    assert claim({"https://a.b/roles": 1}, "https://a.b/roles") == 1
    assert claim({"a.b": 1, "a": {"b": 2}}, "a.b") == 1
    assert claim({"a": {"b": {"c": 3}}}, "a.b.c") == 3
    assert claim({"a": [1]}, "a.0") is None
