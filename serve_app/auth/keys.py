"""API keys: how they are made, and what is kept of them.

A key is 256 random bits. Its SHA-256 digest is what is stored: slow hashes such as bcrypt protect what
people choose, which can be guessed; of 2^256 keys none can, however fast a guess is tried.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, IPvAnyNetwork, StringConstraints

from deployments.config import FrozenConfig
from serve_app.auth.config import ModelPattern, RoleName, TenantName
from serve_app.auth.principal import DEFAULT_TENANT, MAX_NAME_CHARS

PREFIX = "sk-"
HINT_CHARS = 4
SECRET_BYTES = 32

_FORM = re.compile(r"sk-[A-Za-z0-9_-]{43}")

SubjectName = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x20\x7f]+$", max_length=MAX_NAME_CHARS)]


class NewKey(FrozenConfig):
    """What an administrator says about a key that is to be made."""

    name: Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=128)] = Field(
        ..., description="What the key is called; no two keys in use of one tenant have the same name."
    )
    subject: SubjectName = Field(..., description="The user or service that it speaks for.")
    tenant: TenantName = Field(DEFAULT_TENANT, description="The department that it belongs to.")
    roles: tuple[RoleName, ...] = Field(("user",), description="What it grants.")
    expires_at: float | None = Field(
        None, gt=0, description="When it ends, seconds since 1970; default: never."
    )
    models: tuple[ModelPattern, ...] | None = Field(
        None, min_length=1, description="Patterns of the only models it may be used for; default: its roles'."
    )
    addresses: tuple[IPvAnyNetwork, ...] | None = Field(
        None, min_length=1, description="The only networks it may be used from; default: any."
    )


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is kept of a key. Moments are in seconds since 1970.

    Attributes:
        id: Its public name, ``key_...``.
        name: What its tenant calls it.
        subject: The user or service that it speaks for.
        tenant: The department that it belongs to.
        roles: What it grants.
        hint: The last characters of the key, by which its owner knows it.
        digest: SHA-256 of the key, 32 bytes.
        created_at: When it was made.
        expires_at: When it ends; none: never.
        models: Patterns of the only models it may be used for; none: what its roles grant.
        addresses: The only networks it may be used from; none: any.
        last_used_at: When it was last used, as far as replicas have said.
        revoked_at: When it was revoked.
        previous_digest: SHA-256 of the key that it had before its last rotation.
        previous_expires_at: When that one ends.
    """

    id: str
    name: str
    subject: str
    tenant: str
    roles: frozenset[str]
    hint: str
    digest: bytes
    created_at: float
    expires_at: float | None = None
    models: tuple[str, ...] | None = None
    addresses: tuple[str, ...] | None = None
    last_used_at: float | None = None
    revoked_at: float | None = None
    previous_digest: bytes | None = None
    previous_expires_at: float | None = None

    def is_active(self, now: float) -> bool:
        """Whether it can be used at a moment."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key just made: the only time that its secret can be seen.

    Attributes:
        record: What is kept of it.
        secret: The key itself, ``sk-...``.
    """

    record: ApiKey
    secret: str

    def __repr__(self) -> str:
        return f"IssuedKey({self.record.id})"


def new_id() -> str:
    """An id that no other key has."""
    return f"key_{secrets.token_hex(12)}"


def new_secret() -> str:
    """A key: ``sk-`` and 256 random bits."""
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def hint_of(secret: str) -> str:
    """What may be shown of a key."""
    return secret[-HINT_CHARS:]


def is_key(credential: str) -> bool:
    """Whether a credential claims to be an API key; a JWT never begins like one."""
    return credential.startswith(PREFIX)


def digest(secret: str) -> bytes | None:
    """SHA-256 of a key; none for what cannot be a key by its form."""
    return hashlib.sha256(secret.encode()).digest() if _FORM.fullmatch(secret) else None
