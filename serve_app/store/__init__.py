"""The SQL store: keys, revocations, usage, limits and the ledger's buckets, in SQLite or PostgreSQL."""

from serve_app.store.config import StoreConfig
from serve_app.store.database import StoreUnavailable
from serve_app.store.keys import DuplicateKeyName, KeyNotActive, KeyNotFound
from serve_app.store.limits import LimitKey, LimitOverride
from serve_app.store.store import Store
from serve_app.store.usage import UsageRow, UsageSum

__all__ = [
    "DuplicateKeyName",
    "KeyNotActive",
    "KeyNotFound",
    "LimitKey",
    "LimitOverride",
    "Store",
    "StoreConfig",
    "StoreUnavailable",
    "UsageRow",
    "UsageSum",
]
