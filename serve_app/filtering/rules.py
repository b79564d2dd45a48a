"""What is done about a category, and for whom something else."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from deployments.config import FrozenConfig
from serve_app.filtering.verdict import Action

CategoryName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=48)]
"""Safe in a metric label, in an error message and in the audit."""

RoleName = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class RuleConfig(FrozenConfig):
    """What is done about a category, and for whom something else."""

    action: Action = Field(..., description="block: end the answer; mask: hide the match; flag: record it.")
    roles: dict[RoleName, Action | Literal["allow"]] = Field(
        default_factory=dict,
        description="Other actions for roles; a caller with several gets the mildest of theirs.",
    )

    def action_for(self, roles: Collection[str]) -> Action | None:
        """The action for a caller with these roles; None: it is allowed."""
        named = [self.roles[role] for role in roles if role in self.roles]
        if "allow" in named:
            return None
        actions = [Action(action) for action in named] or [self.action]
        return min(actions, key=lambda action: action.strictness)
