"""Limits: who may use how much, exact over any number of ingress replicas."""

from serve_app.limits.bucket import Bucket, LimitName, Scope
from serve_app.limits.config import EstimateConfig, LedgerConfig, LimitRule, LimitsConfig
from serve_app.limits.estimate import Estimator
from serve_app.limits.headers import rate_limit_headers, retry_headers
from serve_app.limits.leases import Leases
from serve_app.limits.ledger import Batch, Grant, Ledger, LedgerUnavailable
from serve_app.limits.limiter import Limiter
from serve_app.limits.refusal import LedgerAway, LimitExceeded, LimitRefusal, RequestTooLarge
from serve_app.limits.reservation import Reservation
from serve_app.limits.rules import Caller, RuleSet

__all__ = [
    "Batch",
    "Bucket",
    "Caller",
    "EstimateConfig",
    "Estimator",
    "Grant",
    "Leases",
    "Ledger",
    "LedgerAway",
    "LedgerConfig",
    "LedgerUnavailable",
    "LimitExceeded",
    "LimitName",
    "LimitRefusal",
    "LimitRule",
    "Limiter",
    "LimitsConfig",
    "RequestTooLarge",
    "Reservation",
    "RuleSet",
    "Scope",
    "rate_limit_headers",
    "retry_headers",
]
