"""Where the platform keeps its records: the part ``store`` of the configuration."""

from __future__ import annotations

from pathlib import Path

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt, field_validator
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from deployments.config import FrozenConfig

DRIVERS = ("sqlite", "postgresql+psycopg")


class StoreConfig(FrozenConfig):
    """The database of keys, revocations, usage and limits."""

    # What is refused may be a URL with a password in it.
    model_config = ConfigDict(hide_input_in_errors=True)

    url: str = Field(
        "sqlite:///.qwen-serve/store.db",
        description="sqlite:///FILE, or postgresql+psycopg://USER@HOST/DATABASE, without a password.",
    )
    password_file: Path | None = Field(
        None, description="File with the database's password; default: as libpq finds it (PGPASSFILE)."
    )
    timeout_s: PositiveFloat = Field(
        5, le=60, description="Wait for a connection or for a lock at most, seconds."
    )
    pool_size: PositiveInt = Field(5, le=100, description="Connections at most.")

    @field_validator("url")
    @classmethod
    def _is_known(cls, text: str) -> str:
        try:
            url = make_url(text)
        except (ArgumentError, ValueError):
            # Without the cause, whose text may hold a password.
            raise ValueError("not a database URL; write sqlite:///FILE or postgresql+psycopg://...") from None
        if url.drivername not in DRIVERS:
            raise ValueError(f"{url.drivername} is not a database of ours; one of {', '.join(DRIVERS)}")
        if url.password is not None or "password" in url.query:
            raise ValueError("leave the password out of the URL and set password_file")
        if url.drivername == "sqlite" and url.database in (None, "", ":memory:"):
            raise ValueError("name a file, such as sqlite:///.qwen-serve/store.db")
        return text
