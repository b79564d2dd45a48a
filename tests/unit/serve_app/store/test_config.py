"""The configuration of the store."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from serve_app.store import StoreConfig


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://u@h/d", "mysql is not a database of ours"),
        ("postgresql://u@h/d", "postgresql is not a database of ours"),
        ("no url", "not a database URL"),
        ("sqlite://", "name a file"),
        ("sqlite:///:memory:", "name a file"),
        ("postgresql+psycopg://u:hunter2@h/d", "set password_file"),
        ("postgresql+psycopg://u@h/d?password=hunter2", "set password_file"),
    ],
)
def test_url_that_does_not_fit_is_refused_with_what_to_write(url: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message) as refused:
        StoreConfig(url=url)
    assert "hunter2" not in str(refused.value)


def test_default_is_a_file() -> None:
    assert StoreConfig().url.startswith("sqlite:///")
