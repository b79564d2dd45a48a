"""The first form of the database."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    _credentials()
    _usage()
    _limits()


def _credentials() -> None:
    in_use = sa.text("revoked_at IS NULL")
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("subject", sa.String(256), nullable=False),
        sa.Column("tenant", sa.String(256), nullable=False),
        sa.Column("roles", sa.JSON, nullable=False),
        sa.Column("hint", sa.String(16), nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("models", sa.JSON),
        sa.Column("addresses", sa.JSON),
        sa.Column("last_used_at", sa.Double),
        sa.Column("revoked_at", sa.Double),
        sa.Column("previous_digest", sa.LargeBinary),
        sa.Column("previous_expires_at", sa.Double),
        sa.Column("sequence", sa.BigInteger, nullable=False),
    )
    op.create_index("api_keys_digest", "api_keys", ["digest"], unique=True)
    op.create_index("api_keys_sequence", "api_keys", ["sequence"])
    op.create_index(
        "api_keys_name",
        "api_keys",
        ["tenant", "name"],
        unique=True,
        sqlite_where=in_use,
        postgresql_where=in_use,
    )
    op.create_table(
        "revocations",
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("name", sa.String(512), primary_key=True),
        sa.Column("revoked_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("sequence", sa.BigInteger, nullable=False),
    )
    op.create_index("revocations_sequence", "revocations", ["sequence"])
    sequence = op.create_table(
        "change_sequence",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(sequence, [{"id": 1, "value": 0}])


def _usage() -> None:
    op.create_table(
        "usage_hourly",
        sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("tenant", sa.String(256), primary_key=True),
        sa.Column("subject", sa.String(256), primary_key=True),
        sa.Column("key_id", sa.String(64), primary_key=True),
        sa.Column("model", sa.String(128), primary_key=True),
        sa.Column("task", sa.String(32), primary_key=True),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "usage_flushes",
        sa.Column("id", sa.String(128), primary_key=True),
        sa.Column("flushed_at", sa.Double, nullable=False),
    )
    op.create_index("usage_flushes_flushed_at", "usage_flushes", ["flushed_at"])


def _limits() -> None:
    op.create_table(
        "limit_overrides",
        sa.Column("scope", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(256), primary_key=True),
        sa.Column("tenant", sa.String(256), primary_key=True),
        sa.Column("model", sa.String(128), primary_key=True),
        sa.Column("limit", sa.String(64), primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("updated_by", sa.String(256), nullable=False),
    )
    op.create_table(
        "ledger_buckets",
        sa.Column("bucket", sa.Text, primary_key=True),
        sa.Column("state", sa.JSON, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
    )
