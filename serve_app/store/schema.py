"""The tables. Moments are in seconds since 1970.

What is here must be what the migrations make; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

metadata = MetaData()

_IN_USE = text("revoked_at IS NULL")

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("subject", String(256), nullable=False),
    Column("tenant", String(256), nullable=False),
    Column("roles", JSON, nullable=False),
    Column("hint", String(16), nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("models", JSON(none_as_null=True)),
    Column("addresses", JSON(none_as_null=True)),
    Column("last_used_at", Double),
    Column("revoked_at", Double),
    Column("previous_digest", LargeBinary),
    Column("previous_expires_at", Double),
    Column("sequence", BigInteger, nullable=False),
    Index("api_keys_digest", "digest", unique=True),
    Index("api_keys_sequence", "sequence"),
    # The name of a revoked key can be given anew.
    Index(
        "api_keys_name",
        "tenant",
        "name",
        unique=True,
        sqlite_where=_IN_USE,
        postgresql_where=_IN_USE,
    ),
)

revocations = Table(
    "revocations",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("name", String(512), primary_key=True),
    Column("revoked_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("sequence", BigInteger, nullable=False),
    Index("revocations_sequence", "sequence"),
)

# One row. A writer of keys or revocations adds 1 and so locks it until its transaction ends: numbers
# become visible in their order, and a reader that has seen one has seen all before it.
change_sequence = Table(
    "change_sequence",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("value", BigInteger, nullable=False),
)

usage_hourly = Table(
    "usage_hourly",
    metadata,
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    Column("tenant", String(256), primary_key=True),
    Column("subject", String(256), primary_key=True),
    Column("key_id", String(64), primary_key=True),
    Column("model", String(128), primary_key=True),
    Column("task", String(32), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
)

usage_flushes = Table(
    "usage_flushes",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("flushed_at", Double, nullable=False),
    Index("usage_flushes_flushed_at", "flushed_at"),
)

limit_overrides = Table(
    "limit_overrides",
    metadata,
    Column("scope", String(32), primary_key=True),
    Column("name", String(256), primary_key=True),
    Column("tenant", String(256), primary_key=True),
    Column("model", String(128), primary_key=True),
    Column("limit", String(64), primary_key=True),
    Column("value", BigInteger, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("updated_by", String(256), nullable=False),
)

ledger_buckets = Table(
    "ledger_buckets",
    metadata,
    Column("bucket", Text, primary_key=True),
    Column("state", JSON, nullable=False),
    Column("updated_at", Double, nullable=False),
)
