"""Run by Alembic for each command, never imported: migrates over the connection that it is given."""

from __future__ import annotations

from alembic import context

from serve_app.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
