"""The ``Authorization`` header, and the refusal of what it carries."""

from __future__ import annotations

from serve_app.errors import Unauthenticated

MAX_TOKEN_CHARS = 8192

_HOW = "Send 'Authorization: Bearer <key or token>'; `qwen-serve key create` or `qwen-serve token` makes one."
_CHALLENGE = {"www-authenticate": 'Bearer realm="qwen-serve"'}


class NoCredential(Unauthenticated):
    """The request shows no credential at all, which is no attempt to guess one."""


def refusal(what: str) -> Unauthenticated:
    """The 401 for a credential that does not hold.

    Args:
        what: One sentence that says why, without anything that the client sent.
    """
    return Unauthenticated(f"{what} {_HOW}", headers=_CHALLENGE)


def credential_of(authorization: str | None) -> str:
    """The API key or JWT of an ``Authorization`` header.

    Raises:
        NoCredential: There is no header.
        Unauthenticated: It is not a bearer credential of reasonable size.
    """
    if authorization is None:
        raise NoCredential(f"No API key given. {_HOW}", headers=_CHALLENGE)
    scheme, _, credential = authorization.partition(" ")
    credential = credential.strip()
    if scheme.lower() != "bearer" or not credential:
        raise refusal("The Authorization header is not a bearer token.")
    if len(credential) > MAX_TOKEN_CHARS:
        raise refusal("The API key is too long.")
    return credential
