"""Bearer tokens: JWTs signed with HS256, always with an expiry."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable

import jwt

from serve_app.auth.principal import Principal
from serve_app.errors import Unauthenticated

ALGORITHM = "HS256"
MAX_TOKEN_CHARS = 8192

_HOW = "Send 'Authorization: Bearer <token>'; `qwen-serve token --subject NAME` issues one."
_CHALLENGE = {"www-authenticate": 'Bearer realm="qwen-serve"'}
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

    def issue(self, subject: str, roles: Iterable[str], expires_s: int) -> str:
        """A token for a subject, good for so many seconds."""
        now = int(time.time())
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": subject,
            "roles": sorted(set(roles)),
            "iat": now,
            "nbf": now,
            "exp": now + expires_s,
            "jti": secrets.token_hex(16),
        }
        return jwt.encode(claims, self._secret, algorithm=ALGORITHM)

    def verify(self, authorization: str | None) -> Principal:
        """The principal of an ``Authorization`` header.

        Raises:
            Unauthenticated: No header, no bearer token, or a token that does not hold.
        """
        if authorization is None:
            raise Unauthenticated(f"No API key given. {_HOW}", headers=_CHALLENGE)
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated(
                f"The Authorization header is not a bearer token. {_HOW}", headers=_CHALLENGE
            )
        if len(token) > MAX_TOKEN_CHARS:
            raise Unauthenticated(f"The API key is too long. {_HOW}", headers=_CHALLENGE)
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
            raise Unauthenticated(f"The API key has expired. {_HOW}", headers=_CHALLENGE) from error
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            # PyJWT parses the header before it knows the signature: deep nesting ends in RecursionError.
            raise Unauthenticated(f"The API key is not valid. {_HOW}", headers=_CHALLENGE) from error
        return _principal(claims)


def _principal(claims: dict[str, object]) -> Principal:
    subject, roles = claims.get("sub"), claims.get("roles", [])
    if not isinstance(subject, str) or not subject or not _is_list_of_names(roles):
        raise Unauthenticated(f"The API key's claims are not of the right form. {_HOW}", headers=_CHALLENGE)
    assert isinstance(roles, list)
    return Principal(subject, frozenset(roles))


def _is_list_of_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
