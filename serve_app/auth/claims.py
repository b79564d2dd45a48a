"""What an issuer's claims mean here: subject, tenant and roles, each from the path that is configured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serve_app.auth.bearer import refusal
from serve_app.auth.config import IssuerConfig
from serve_app.auth.principal import Identity, Principal, is_name


def claim(claims: Mapping[str, Any], path: str) -> Any:
    """The claim at a path; none if it is not there.

    A claim of exactly that name comes first, since names may be URLs; then ``a.b`` looks inside ``a``.
    """
    if path in claims:
        return claims[path]
    value: Any = claims
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    return value


def identity_of(claims: Mapping[str, Any], config: IssuerConfig) -> Identity:
    """Whom an issuer's verified claims name.

    Raises:
        Unauthenticated: A required claim is missing, or one is not of the right form.
    """
    for path in config.required_claims:
        if claim(claims, path) is None:
            raise refusal("The API key lacks a required claim.")
    subject = claim(claims, config.subject_claim)
    # An issuer that is to name tenants must do so: without the claim there is no falling back to a default.
    tenant = claim(claims, config.tenant_claim) if config.tenant_claim else config.tenant
    token_id, issued_at_s = claims.get("jti"), claims.get("iat", 0)
    if (
        not is_name(subject)
        or not is_name(tenant)
        or not (token_id is None or isinstance(token_id, str))
        or not isinstance(issued_at_s, int | float)
    ):
        raise refusal("The API key's claims are not of the right form.")
    return Identity(Principal(subject, _roles(claims, config), tenant, token_id=token_id), issued_at_s)


def _roles(claims: Mapping[str, Any], config: IssuerConfig) -> frozenset[str]:
    if config.roles_claim is None:
        return frozenset()
    names = claim(claims, config.roles_claim)
    if names is None:
        return frozenset()
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise refusal("The API key's roles are not a list of names.")
    return frozenset(config.role_map[name] for name in names if name in config.role_map)
