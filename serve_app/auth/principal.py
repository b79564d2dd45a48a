"""The caller of a request, as authentication found it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking.

    Attributes:
        subject: The user or service, from the token's ``sub``.
        roles: What the token grants, from its ``roles``.
    """

    subject: str
    roles: frozenset[str]
