"""What is limited, and for whom: the identity of one bucket."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import quote


class Scope(StrEnum):
    """Whose use a bucket adds up."""

    KEY = "key"
    USER = "user"
    TENANT = "tenant"
    MODEL = "model"


class Kind(StrEnum):
    """How long a use counts."""

    WINDOW = "window"
    """For sixty seconds, whichever they are."""
    DAY = "day"
    """Until the calendar day ends."""
    MONTH = "month"
    """Until the calendar month ends."""
    GAUGE = "gauge"
    """Until the request ends."""


class LimitName(StrEnum):
    """The limits, by their names in the configuration."""

    REQUESTS_PER_MINUTE = "requests_per_minute"
    TOKENS_PER_MINUTE = "tokens_per_minute"
    CONCURRENT_REQUESTS = "concurrent_requests"
    TOKENS_PER_DAY = "tokens_per_day"
    TOKENS_PER_MONTH = "tokens_per_month"

    @property
    def kind(self) -> Kind:
        """How long a use counts."""
        return _KINDS[self]

    @property
    def counts_tokens(self) -> bool:
        """Whether the unit is a token; otherwise it is a request."""
        return self in _TOKENS


_KINDS = {
    LimitName.REQUESTS_PER_MINUTE: Kind.WINDOW,
    LimitName.TOKENS_PER_MINUTE: Kind.WINDOW,
    LimitName.CONCURRENT_REQUESTS: Kind.GAUGE,
    LimitName.TOKENS_PER_DAY: Kind.DAY,
    LimitName.TOKENS_PER_MONTH: Kind.MONTH,
}
_TOKENS = frozenset({LimitName.TOKENS_PER_MINUTE, LimitName.TOKENS_PER_DAY, LimitName.TOKENS_PER_MONTH})


@dataclass(frozen=True, slots=True)
class Bucket:
    """One thing that is counted.

    Attributes:
        limit: Which limit.
        scope: Whose use.
        name: Of the key, user, tenant or model.
        tenant: Where the name is a user's: users of two tenants may have the same name. Otherwise empty.
        model: The one model that counts; None: all models together.
        id: All of it as one text, the same everywhere; safe as a key of any store.
    """

    limit: LimitName
    scope: Scope
    name: str
    tenant: str = ""
    model: str | None = None
    id: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        # "*" is what quote() never leaves bare, so no model can pass for all of them.
        model = "*" if self.model is None else quote(self.model, safe="")
        who = quote(self.name, safe="")
        if self.scope is Scope.USER:
            who = f"{quote(self.tenant, safe='')}/{who}"
        object.__setattr__(self, "id", f"{self.limit}/{self.scope}/{who}/{model}")
