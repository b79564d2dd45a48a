"""A replica's own copy of the credentials, so that the usual request asks nobody.

Kept up to date by polling the registry; the copy is used until it is ``max_age_s`` old. It holds what
can be used and what is revoked, and drops what has expired: its size is bounded by the store's.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from serve_app.auth import keys
from serve_app.auth.changes import Changes, Revocation, RevokedKind
from serve_app.auth.keys import ApiKey
from serve_app.auth.outage import AuthenticationUnavailable
from serve_app.auth.principal import Identity, Principal

_SWEEP_INTERVAL_S = 60.0
_FOREVER = float("inf")


@dataclass(frozen=True, slots=True)
class HeldKey:
    """An API key as a replica holds it, with all that a request needs made beforehand.

    Attributes:
        digest: SHA-256 of the key.
        principal: Whom it names.
        ends_at: When it ends, seconds since 1970.
        networks: The only networks it may be used from; none: any.
    """

    digest: bytes
    principal: Principal
    ends_at: float
    networks: tuple[IPv4Network | IPv6Network, ...] | None

    def allows(self, address: str | None) -> bool:
        """Whether it may be used from an address."""
        if self.networks is None:
            return True
        try:
            parsed = ip_address(address or "")
        except ValueError:
            return False
        actual = getattr(parsed, "ipv4_mapped", None) or parsed
        return any(actual in network for network in self.networks)


class Credentials:
    """The keys and revocations that a replica knows. Belongs to one event loop.

    Args:
        max_age_s: How long the copy is used after the registry was last asked.
        clock: Monotonic seconds.
        wall_clock: Seconds since 1970.
    """

    def __init__(
        self,
        max_age_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._max_age_s = max_age_s
        self._clock = clock
        self._wall_clock = wall_clock
        self._sequence = 0
        self._as_of: float | None = None
        self._swept_at = clock()
        self._held: dict[bytes, HeldKey] = {}
        self._digests: dict[str, tuple[bytes, ...]] = {}
        self._revoked: dict[tuple[RevokedKind, str], Revocation] = {}
        self._used: dict[str, float] = {}

    @property
    def sequence(self) -> int:
        """The number to ask the registry with."""
        return self._sequence

    def __len__(self) -> int:
        return len(self._held) + len(self._revoked)

    def apply(self, changes: Changes, asked_at: float) -> None:
        """Take in an answer of the registry.

        An answer that is older than what is held changes nothing: it could undo a revocation.

        Args:
            changes: The answer.
            asked_at: When it was asked for, by the same clock: the copy is at least as fresh as that.
        """
        if changes.complete:
            self._held.clear()
            self._digests.clear()
            self._revoked.clear()
        elif changes.sequence < self._sequence:
            return
        for key in changes.keys:
            self._replace(key)
        for revocation in changes.revocations:
            self._revoked[revocation.kind, revocation.name] = revocation
        self._sequence = changes.sequence
        self._as_of = asked_at
        if self._clock() - self._swept_at >= _SWEEP_INTERVAL_S:
            self._sweep()

    def check_fresh(self) -> None:
        """Make sure that the copy may be used.

        Raises:
            AuthenticationUnavailable: The registry has not answered for too long, or not yet.
        """
        if self._as_of is None or self._clock() - self._as_of > self._max_age_s:
            raise AuthenticationUnavailable(
                "Credentials cannot be checked now: the registry of keys and revocations does not answer. "
                "Try again later; the operator finds the reason in the log of the Registry deployment."
            )

    def find(self, secret: str) -> HeldKey | None:
        """The key that a caller shows, if it is held and has not ended.

        The look-up goes by the digest: what its timing could tell is a digest's likeness to others, and
        nobody can make a key for a digest. The digests are then compared in constant time.
        """
        digest = keys.digest(secret)
        held = self._held.get(digest) if digest is not None else None
        if digest is None or held is None or not hmac.compare_digest(held.digest, digest):
            return None
        return held if self._wall_clock() < held.ends_at else None

    def note_use(self, key: HeldKey) -> None:
        """Remember that a key was used just now."""
        assert key.principal.key_id is not None
        self._used[key.principal.key_id] = self._wall_clock()

    def take_uses(self) -> dict[str, float]:
        """When keys were last used, by id, since this was last asked; for the registry."""
        used, self._used = self._used, {}
        return used

    def is_revoked(self, identity: Identity) -> bool:
        """Whether a token was revoked: it itself, or all of its subject's until then.

        ``iat`` has whole seconds, so a token of the very second of the revocation counts as revoked.
        """
        principal = identity.principal
        if (
            principal.token_id is not None
            and self._revocation(RevokedKind.TOKEN, principal.token_id) is not None
        ):
            return True
        of_subject = self._revocation(RevokedKind.SUBJECT, principal.subject)
        return of_subject is not None and identity.issued_at_s <= of_subject.revoked_at

    def _revocation(self, kind: RevokedKind, name: str) -> Revocation | None:
        return self._revoked.get((kind, name))

    def _replace(self, key: ApiKey) -> None:
        for digest in self._digests.pop(key.id, ()):
            self._held.pop(digest, None)
        now = self._wall_clock()
        if not key.is_active(now):
            return
        held = [_held(key, key.digest, key.expires_at)]
        if key.previous_digest is not None and (key.previous_expires_at or 0) > now:
            ends = min(key.previous_expires_at or 0, key.expires_at or _FOREVER)
            held.append(_held(key, key.previous_digest, ends))
        self._held.update((each.digest, each) for each in held)
        self._digests[key.id] = tuple(each.digest for each in held)

    def _sweep(self) -> None:
        """Drop what has expired."""
        now = self._wall_clock()
        self._swept_at = self._clock()
        for digest in [digest for digest, held in self._held.items() if held.ends_at <= now]:
            key_id = self._held.pop(digest).principal.key_id
            assert key_id is not None
            left = tuple(other for other in self._digests.pop(key_id, ()) if other in self._held)
            if left:
                self._digests[key_id] = left
        self._revoked = {
            name: revocation
            for name, revocation in self._revoked.items()
            if revocation.expires_at is None or revocation.expires_at > now
        }


def _held(key: ApiKey, digest: bytes, ends_at: float | None) -> HeldKey:
    return HeldKey(
        digest,
        Principal(key.subject, key.roles, key.tenant, key_id=key.id, models=key.models),
        _FOREVER if ends_at is None else ends_at,
        None if key.addresses is None else tuple(ip_network(address) for address in key.addresses),
    )
