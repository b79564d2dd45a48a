"""What can be asked of the registry. Each operation is data that carries its own work on the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from serve_app.auth.changes import Changes, Revocation
from serve_app.auth.keys import ApiKey, IssuedKey, NewKey
from serve_app.store import LimitKey, LimitOverride, UsageRow, UsageSum

if TYPE_CHECKING:
    from serve_app.store import Store
    from serve_app.store.usage import Dimension

T_co = TypeVar("T_co", covariant=True)


class Operation(Protocol[T_co]):
    """One transaction with the store; runs in a thread of the registry."""

    def apply(self, store: Store) -> T_co:
        """Do it.

        Raises:
            StoreUnavailable: The database is down.
            Exception: One of ``fault.EXPECTED``, whose message is for whoever asked.
        """


@dataclass(frozen=True, slots=True)
class CreateKey:
    """Make an API key."""

    new: NewKey

    def apply(self, store: Store) -> IssuedKey:
        """See ``Operation``."""
        return store.keys.create(self.new)


@dataclass(frozen=True, slots=True)
class ListKeys:
    """All keys, or those of one tenant."""

    tenant: str | None = None

    def apply(self, store: Store) -> tuple[ApiKey, ...]:
        """See ``Operation``."""
        return tuple(store.keys.list(tenant=self.tenant))


@dataclass(frozen=True, slots=True)
class GetKey:
    """One key, revoked or not."""

    key_id: str

    def apply(self, store: Store) -> ApiKey:
        """See ``Operation``."""
        return store.keys.get(self.key_id)


@dataclass(frozen=True, slots=True)
class RotateKey:
    """Give a key a new secret; the old one holds for a grace period, seconds."""

    key_id: str
    grace_s: float

    def apply(self, store: Store) -> IssuedKey:
        """See ``Operation``."""
        return store.keys.rotate(self.key_id, self.grace_s)


@dataclass(frozen=True, slots=True)
class RevokeKey:
    """End a key now."""

    key_id: str

    def apply(self, store: Store) -> ApiKey:
        """See ``Operation``."""
        return store.keys.revoke(self.key_id)


@dataclass(frozen=True, slots=True)
class RevokeToken:
    """End one JWT, by its ``jti``."""

    token_id: str

    def apply(self, store: Store) -> Revocation:
        """See ``Operation``."""
        return store.revocations.revoke_token(self.token_id)


@dataclass(frozen=True, slots=True)
class RevokeSubject:
    """End every JWT that a subject has now."""

    subject: str

    def apply(self, store: Store) -> Revocation:
        """See ``Operation``."""
        return store.revocations.revoke_subject(self.subject)


@dataclass(frozen=True, slots=True)
class ListRevocations:
    """Revocations that still hold for something."""

    def apply(self, store: Store) -> tuple[Revocation, ...]:
        """See ``Operation``."""
        return tuple(store.revocations.list())


@dataclass(frozen=True, slots=True)
class SumUsage:
    """Usage added up; see ``UsageTable.sums``."""

    by: tuple[Dimension, ...]
    since: float | None = None
    until: float | None = None
    tenant: str | None = None
    subject: str | None = None
    model: str | None = None
    utc_offset_s: int = 0

    def apply(self, store: Store) -> tuple[UsageSum, ...]:
        """See ``Operation``."""
        return store.usage.sums(
            self.by,
            since=self.since,
            until=self.until,
            tenant=self.tenant,
            subject=self.subject,
            model=self.model,
            utc_offset_s=self.utc_offset_s,
        )


@dataclass(frozen=True, slots=True)
class ListLimits:
    """Limits that administrators have set."""

    def apply(self, store: Store) -> tuple[LimitOverride, ...]:
        """See ``Operation``."""
        return store.limits.list()


@dataclass(frozen=True, slots=True)
class SetLimit:
    """Set a limit in place of the configuration's."""

    key: LimitKey
    value: int
    by: str

    def apply(self, store: Store) -> LimitOverride:
        """See ``Operation``."""
        return store.limits.set(self.key, self.value, self.by)


@dataclass(frozen=True, slots=True)
class DeleteLimit:
    """Go back to the configuration's limit; whether there was another."""

    key: LimitKey

    def apply(self, store: Store) -> bool:
        """See ``Operation``."""
        return store.limits.delete(self.key)


@dataclass(frozen=True, slots=True)
class State:
    """What an ingress replica needs to know.

    Attributes:
        changes: Of keys and revocations.
        limits: All that administrators have set.
    """

    changes: Changes
    limits: tuple[LimitOverride, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What an ingress replica tells, and asks for the state with.

    Attributes:
        sequence: Of the last change that it knows.
        uses: When keys were used last, by id, seconds since 1970.
        flush_id: Names the rows; the same when they are sent again.
        rows: Usage since the last report that was answered.
    """

    sequence: int
    uses: Mapping[str, float]
    flush_id: str
    rows: tuple[UsageRow, ...]

    def apply(self, store: Store) -> State:
        """See ``Operation``."""
        if self.rows:
            store.usage.add(self.flush_id, self.rows)
        if self.uses:
            store.keys.touch(self.uses)
        return State(store.revocations.changes_since(self.sequence), store.limits.list())
