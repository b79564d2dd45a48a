"""What an operator may say about limits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, StringConstraints, model_validator

from deployments.config import FrozenConfig, ModelId
from serve_app.limits.bucket import LimitName, Scope

EACH = "*"
"""In place of a name: each one by itself."""

Amount = Annotated[int, Field(gt=0, le=10**12)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class LimitRule(FrozenConfig):
    """Limits, and whom they hold for; of several rules about the same thing the most specific wins."""

    scope: Scope = Field(..., description="Whose use is added up: key, user, tenant or model.")
    name: Name = Field(EACH, description="Of that key, user, tenant or model; *: each one by itself.")
    tenant: Name | None = Field(None, description="Only for callers of this tenant.")
    role: Name | None = Field(None, description="Only for callers that have this role.")
    model: ModelId | Literal["*"] | None = Field(
        None,
        description="Only what is asked of this model; *: each model by itself; none: all models together.",
    )
    requests_per_minute: Amount | None = Field(None, description="Requests in any 60 seconds.")
    tokens_per_minute: Amount | None = Field(
        None, description="Tokens, of prompts and answers together, in any 60 seconds."
    )
    concurrent_requests: Amount | None = Field(None, description="Requests in hand at once.")
    tokens_per_day: Amount | None = Field(None, description="Tokens in a calendar day.")
    tokens_per_month: Amount | None = Field(None, description="Tokens in a calendar month.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if all(self.value(limit) is None for limit in LimitName):
            raise ValueError(f"the rule sets no limit; set one of {', '.join(LimitName)}")
        if self.scope is Scope.MODEL and self.model is not None:
            raise ValueError("a rule of scope model names its model in name; leave model out")
        return self

    def value(self, limit: LimitName) -> int | None:
        """What the rule says about one limit."""
        value: int | None = getattr(self, limit.value)
        return value


class LedgerConfig(FrozenConfig):
    """Where what is granted is written down, and how the replicas share it."""

    kind: Literal["embedded", "redis"] = Field(
        "embedded", description="embedded: in this cluster; redis: for several clusters that share limits."
    )
    redis_url: SecretStr | None = Field(
        None, description="redis:// or rediss:// URL, which may hold a password; better in redis_url_file."
    )
    redis_url_file: Path | None = Field(None, description="File with the Redis URL.")
    lease_ttl_s: PositiveFloat = Field(
        10, ge=1, le=300, description="For so long a replica may spend what it was granted, seconds."
    )
    sync_interval_s: PositiveFloat = Field(
        0.5, ge=0.05, le=30, description="A replica reports what it spent so often, seconds."
    )
    sync_timeout_s: PositiveFloat = Field(
        1, le=30, description="A ledger that takes longer to answer is away, seconds."
    )
    on_ledger_away: Literal["allow", "refuse"] = Field(
        "allow",
        description="When the ledger is away and the leases are used up: accept requests within "
        "away_grace_s and away_allowance_ratio, or refuse them with 503.",
    )
    away_grace_s: PositiveFloat = Field(
        60, le=86_400, description="For so long requests are accepted without the ledger, seconds."
    )
    away_allowance_ratio: PositiveFloat = Field(
        0.1,
        le=1,
        description="Share of each limit that each replica accepts without the ledger, until it is back.",
    )

    @model_validator(mode="after")
    def _redis_is_named_once(self) -> Self:
        named = [self.redis_url is not None, self.redis_url_file is not None].count(True)
        if self.kind == "redis" and named != 1:
            raise ValueError("kind redis needs redis_url_file, or redis_url, and not both")
        if self.kind == "embedded" and named:
            raise ValueError("redis_url and redis_url_file are for kind redis; set it, or leave them out")
        if self.sync_interval_s * 2 > self.lease_ttl_s:
            raise ValueError(
                f"lease_ttl_s ({self.lease_ttl_s:g}) must be at least twice sync_interval_s "
                f"({self.sync_interval_s:g}), or leases end before they can be renewed"
            )
        return self


class EstimateConfig(FrozenConfig):
    """How long an answer is taken to be before it is made."""

    quantile: Annotated[float, Field(ge=0.5, le=0.999)] = Field(
        0.9, description="Share of earlier answers that were no longer than what is reserved."
    )
    default_output_tokens: PositiveInt = Field(
        512, description="Reserved for an answer of a model about which nothing is known yet, tokens."
    )
    min_answers: PositiveInt = Field(20, description="Answers after which a user's own lengths count.")
    max_users: PositiveInt = Field(
        10_000, description="Pairs of model and user that are remembered; the least recent is forgotten."
    )


class LimitsConfig(FrozenConfig):
    """How much who may use."""

    rules: tuple[LimitRule, ...] = Field((), description="The limits; none: nothing is limited.")
    timezone: str = Field("UTC", description="Where days and months begin, such as Asia/Shanghai.")
    ledger: LedgerConfig = Field(default_factory=LedgerConfig, description="Who grants.")
    estimate: EstimateConfig = Field(default_factory=EstimateConfig, description="Length of answers.")

    @model_validator(mode="after")
    def _timezone_exists(self) -> Self:
        if self.timezone not in available_timezones():
            raise ValueError(
                f"timezone: there is no {self.timezone!r}; write one such as UTC or Asia/Shanghai"
            )
        return self

    @property
    def zone(self) -> ZoneInfo:
        """Where days and months begin."""
        return ZoneInfo(self.timezone)
