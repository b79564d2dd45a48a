"""The caller of a request, as authentication found it."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_TENANT = "default"
MAX_NAME_CHARS = 256


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking.

    Attributes:
        subject: The user or service.
        roles: Names of roles; those that the configuration does not know grant nothing.
        tenant: The department or customer that the subject belongs to.
        key_id: The API key that was shown; none for a JWT.
        token_id: The ``jti`` of the JWT that was shown, if it has one.
        models: Patterns that restrict this credential, whatever its roles grant; none: no restriction.
    """

    subject: str
    roles: frozenset[str]
    tenant: str = DEFAULT_TENANT
    key_id: str | None = None
    token_id: str | None = None
    models: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """What a verified JWT says.

    Attributes:
        principal: Whom it names.
        issued_at_s: Its ``iat``, seconds since 1970; 0 where it does not say, so that every revocation
            of its subject holds for it.
    """

    principal: Principal
    issued_at_s: float


def is_name(value: object) -> bool:
    """Whether a claim can be a name: 1 to 256 printable characters.

    Names go into logs and databases, some of which break on control characters and lone surrogates.
    """
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME_CHARS and value.isprintable()
