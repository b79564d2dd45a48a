"""The planner's error: one line that says what is wrong and what to do."""

from __future__ import annotations


class PlanFailed(Exception):
    """Nothing can be planned from what was given."""
