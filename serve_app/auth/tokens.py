"""The platform's own tokens: JWTs signed with HS256, always with an expiry."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable

import jwt

from serve_app.auth.bearer import credential_of, refusal
from serve_app.auth.principal import DEFAULT_TENANT, Identity, Principal, is_name

ALGORITHM = "HS256"

_DURATION = re.compile(r"(\d{1,6})([smhdw])")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def duration_s(text: str) -> int:
    """Seconds of a duration such as ``90s``, ``12h`` or ``30d``.

    Raises:
        ValueError: Not of that form, or zero.
    """
    match = _DURATION.fullmatch(text.strip())
    if not match or not int(match[1]):
        raise ValueError(f"{text!r} is not a duration; write a number and s, m, h, d or w, such as 30d")
    return int(match[1]) * _UNIT_S[match[2]]


class Tokens:
    """Issues and verifies tokens.

    Args:
        secret: At least 32 bytes.
        issuer: The ``iss`` claim.
        audience: The ``aud`` claim.
        leeway_s: Tolerated clock difference, seconds.
    """

    def __init__(self, secret: bytes, *, issuer: str, audience: str, leeway_s: float = 0) -> None:
        self._secret = secret
        self._issuer = issuer
        self._audience = audience
        self._leeway_s = leeway_s

    @property
    def issuer(self) -> str:
        """The ``iss`` claim of these tokens."""
        return self._issuer

    def issue(
        self, subject: str, roles: Iterable[str], expires_s: int, *, tenant: str = DEFAULT_TENANT
    ) -> str:
        """A token for a subject of a tenant, good for so many seconds."""
        now = int(time.time())
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": subject,
            "tenant": tenant,
            "roles": sorted(set(roles)),
            "iat": now,
            "nbf": now,
            "exp": now + expires_s,
            "jti": secrets.token_hex(16),
        }
        return jwt.encode(claims, self._secret, algorithm=ALGORITHM)

    def verify(self, authorization: str | None) -> Principal:
        """The principal of an ``Authorization`` header, by signature and claims alone.

        Raises:
            Unauthenticated: No header, no bearer token, or a token that does not hold.
        """
        return self.read(credential_of(authorization)).principal

    def read(self, token: str) -> Identity:
        """What a token says.

        Raises:
            Unauthenticated: The token does not hold.
        """
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                issuer=self._issuer,
                audience=self._audience,
                leeway=self._leeway_s,
                options={"require": ["exp", "iat", "sub", "iss", "aud"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise refusal("The API key has expired.") from error
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            # PyJWT parses the header before it knows the signature: deep nesting ends in RecursionError.
            raise refusal("The API key is not valid.") from error
        return _identity(claims)


def _identity(claims: dict[str, object]) -> Identity:
    subject, tenant = claims["sub"], claims.get("tenant", DEFAULT_TENANT)
    roles, token_id, issued_at_s = claims.get("roles", []), claims.get("jti"), claims["iat"]
    if (
        not (isinstance(subject, str) and is_name(subject))
        or not (isinstance(tenant, str) and is_name(tenant))
        or not (isinstance(roles, list) and all(isinstance(role, str) for role in roles))
        or not (token_id is None or isinstance(token_id, str))
        or not isinstance(issued_at_s, int | float)
    ):
        raise refusal("The API key's claims are not of the right form.")
    return Identity(Principal(subject, frozenset(roles), tenant, token_id=token_id), issued_at_s)
