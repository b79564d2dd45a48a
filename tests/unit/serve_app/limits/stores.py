"""Stores of accounts for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class MemoryStore:
    """Keeps accounts as a database would: as text, so that nothing is shared with the ledger."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.saves = 0
        self.down = False

    def load(self) -> dict[str, Mapping[str, Any]]:
        """All rows."""
        if self.down:
            raise OSError("the database is down")
        return {bucket: json.loads(state) for bucket, state in self.rows.items()}

    def save(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace rows."""
        if self.down:
            raise OSError("the database is down")
        self.saves += 1
        self.rows |= {bucket: json.dumps(state) for bucket, state in rows.items()}
