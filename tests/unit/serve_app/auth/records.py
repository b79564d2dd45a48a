"""API keys as the store would have them."""

from __future__ import annotations

from typing import Any

from serve_app.auth import keys
from serve_app.auth.keys import ApiKey, IssuedKey


def issued(**changes: Any) -> IssuedKey:
    """A key just made."""
    secret = keys.new_secret()
    values: dict[str, Any] = {
        "id": keys.new_id(),
        "name": "laptop",
        "subject": "zhangsan",
        "tenant": "research",
        "roles": frozenset({"user"}),
        "hint": keys.hint_of(secret),
        "digest": keys.digest(secret),
        "created_at": 0.0,
        **changes,
    }
    return IssuedKey(ApiKey(**values), secret)
