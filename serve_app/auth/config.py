"""How callers are known and what they may use: the part ``auth`` of the configuration."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    field_validator,
    model_validator,
)
from yarl import URL

from deployments.config import FrozenConfig

PublicKeyAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
"""Signatures with a public key. Never ``none``, and never HS: a public key is no secret."""

RouteName = Literal["chat", "completion", "embedding", "rerank", "score", "models"]
"""What a role may call: the tasks of models, and ``models`` for the list of them."""

ALL_ROUTES: tuple[RouteName, ...] = ("chat", "completion", "embedding", "rerank", "score", "models")

RoleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
TenantName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@/-]*$", max_length=128)]
ModelPattern = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]+$", max_length=128)]
ClaimPath = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class IssuerConfig(FrozenConfig):
    """An issuer of JWTs outside of this platform, such as a company's OIDC provider."""

    issuer: str = Field(..., min_length=1, description="The `iss` claim of its tokens, letter by letter.")
    audience: str = Field(..., min_length=1, description="The `aud` claim that its tokens have for us.")
    algorithms: tuple[PublicKeyAlgorithm, ...] = Field(
        ..., min_length=1, description="Signatures that are accepted; all others are refused."
    )
    jwks_url: str | None = Field(
        None, description="Where its public keys are: https, or http on this machine itself."
    )
    public_key_files: tuple[Path, ...] = Field(
        (), description="Files with its public keys in PEM form, in place of jwks_url."
    )
    subject_claim: ClaimPath = Field("sub", description="Claim with the caller's name; a.b looks inside a.")
    tenant_claim: ClaimPath | None = Field(
        None, description="Claim with the caller's tenant; default: every caller is of `tenant`."
    )
    tenant: TenantName = Field("default", description="Tenant of its callers where no claim names one.")
    roles_claim: ClaimPath | None = Field(
        None, description="Claim with a list of roles, such as realm_access.roles; default: no roles."
    )
    role_map: dict[str, RoleName] = Field(
        default_factory=dict,
        description="The issuer's roles and what each is called here; one that is not named grants nothing.",
    )
    required_claims: tuple[ClaimPath, ...] = Field(
        (), description="Claims that must be there beside exp, iss, aud and the subject."
    )
    leeway_s: NonNegativeFloat = Field(
        5, le=300, description="Clock difference tolerated on `exp`, `nbf` and `iat`, seconds."
    )
    jwks_refresh_s: PositiveFloat = Field(300, description="Age at which the keys are fetched anew, seconds.")
    jwks_max_stale_s: PositiveFloat = Field(
        86_400, description="Age to which the last good keys hold while the issuer does not answer, seconds."
    )
    jwks_min_refresh_interval_s: PositiveFloat = Field(
        10, description="Time between two fetches at least, whatever the tokens name, seconds."
    )
    jwks_timeout_s: PositiveFloat = Field(5, le=30, description="A fetch that takes longer fails, seconds.")

    @field_validator("jwks_url")
    @classmethod
    def _is_safe(cls, text: str | None) -> str | None:
        if text is None:
            return None
        url = URL(text)
        if url.user is not None or url.password is not None:
            raise ValueError("leave the credentials out: public keys need none")
        if url.scheme != "https" and not (url.scheme == "http" and _is_loopback(url.host or "")):
            raise ValueError("write an https:// URL; http:// is taken for 127.0.0.1 and localhost only")
        if not url.host:
            raise ValueError("the URL names no host")
        return text

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if (self.jwks_url is None) == (not self.public_key_files):
            raise ValueError("set exactly one of jwks_url and public_key_files")
        if self.roles_claim is not None and not self.role_map:
            raise ValueError("role_map: say what each role of roles_claim is here, such as {staff: user}")
        if self.jwks_max_stale_s < self.jwks_refresh_s:
            raise ValueError("jwks_max_stale_s must be at least jwks_refresh_s")
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class RoleConfig(FrozenConfig):
    """What a role grants."""

    models: tuple[ModelPattern, ...] = Field(
        (), description="Patterns (*, ?, [a-z]) of model ids and aliases; empty: no model."
    )
    routes: tuple[RouteName, ...] = Field(ALL_ROUTES, description="What may be done with those models.")
    admin: bool = Field(False, description="May administer the platform: /admin/v1.")


class AttemptsConfig(FrozenConfig):
    """How failed authentication is slowed."""

    max_failures: PositiveInt = Field(10, description="Failures of one address that are answered at once.")
    window_s: PositiveFloat = Field(
        60, description="An address without failures for so long starts anew, seconds."
    )
    delay_s: NonNegativeFloat = Field(
        0.5, le=10, description="Wait before the next refusal; doubles with each failure, seconds."
    )
    max_delay_s: NonNegativeFloat = Field(5, le=30, description="Wait before a refusal at most, seconds.")
    max_waiting: PositiveInt = Field(
        64, description="Refusals of one replica that wait at once; further ones do not wait."
    )
    max_tracked_addresses: PositiveInt = Field(
        10_000, description="Addresses whose failures are remembered; the longest quiet one goes first."
    )


def _default_roles() -> dict[str, RoleConfig]:
    return {"user": RoleConfig(models=("*",)), "admin": RoleConfig(models=("*",), admin=True)}


class AuthConfig(FrozenConfig):
    """How credentials are checked, and what they grant."""

    secret_file: Path = Field(
        ..., description="File with the HS256 signing secret; `qwen-serve secret FILE` makes one."
    )
    issuer: str = Field("qwen-serve", min_length=1, description="The `iss` claim of the platform's tokens.")
    audience: str = Field("qwen-serve", min_length=1, description="The `aud` claim of the platform's tokens.")
    leeway_s: NonNegativeFloat = Field(
        5, le=300, description="Clock difference tolerated on `exp`, `nbf` and `iat`, seconds."
    )
    issuers: tuple[IssuerConfig, ...] = Field((), description="Further issuers whose tokens are taken.")
    roles: dict[RoleName, RoleConfig] = Field(
        default_factory=_default_roles,
        description="Roles; one that a credential names and that is not here grants nothing.",
    )
    hide_forbidden_models: bool = Field(
        True, description="A model that the caller may not use answers as if it did not exist: 404, not 403."
    )
    attempts: AttemptsConfig = Field(
        default_factory=AttemptsConfig, description="How failed authentication is slowed."
    )
    sync_interval_s: PositiveFloat = Field(
        1, le=4, description="Between two looks of a replica for new and revoked credentials, seconds."
    )
    credentials_max_age_s: PositiveFloat = Field(
        300,
        ge=5,
        le=86_400,
        description="How long a replica goes on with its copy of the credentials while the registry does not "
        "answer; after that all requests get 503, seconds.",
    )

    @model_validator(mode="after")
    def _issuers_fit(self) -> Self:
        seen = {self.issuer}
        for index, issuer in enumerate(self.issuers):
            if issuer.issuer in seen:
                raise ValueError(f"issuers[{index}].issuer: {issuer.issuer!r} is taken; issuers must differ")
            seen.add(issuer.issuer)
            for theirs, ours in issuer.role_map.items():
                if ours not in self.roles:
                    raise ValueError(
                        f"issuers[{index}].role_map.{theirs}: there is no role {ours!r}; "
                        f"one of {', '.join(self.roles)}"
                    )
        return self
