"""What the registry tells the replicas: keys and revocations since the last time they asked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from serve_app.auth.keys import ApiKey


class RevokedKind(StrEnum):
    """What a revocation names."""

    TOKEN = "token"  # noqa: S105  (a kind, no secret)
    SUBJECT = "subject"


@dataclass(frozen=True, slots=True)
class Revocation:
    """JWTs that no longer hold. Moments are in seconds since 1970.

    Attributes:
        kind: A token by its ``jti``, or every token of a subject issued until then.
        name: The ``jti`` or the subject.
        revoked_at: When.
        expires_at: When no token is left that it could concern; none: it stays.
    """

    kind: RevokedKind
    name: str
    revoked_at: float
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed after a sequence number.

    Attributes:
        sequence: The number to ask with next time.
        keys: Keys that are new, rotated or revoked, as they are now.
        revocations: Revocations that are new.
        complete: These are all that there are, in place of what the replica has.
    """

    sequence: int
    keys: tuple[ApiKey, ...]
    revocations: tuple[Revocation, ...]
    complete: bool
