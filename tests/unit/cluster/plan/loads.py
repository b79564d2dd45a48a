"""Requirements in a line, for the tests of the planner."""

from __future__ import annotations

from typing import Any

from cluster.plan import subject, tables
from cluster.plan.placement import Placement, placements
from cluster.plan.requirements import Load, ModelRequirement, Requirements


def requirements(*models: dict[str, Any], **given: Any) -> Requirements:
    """A file of requirements with these models."""
    return Requirements(models=tuple(ModelRequirement.model_validate(one) for one in models), **given)


def placed(name: str, gpu: str, size: int, load: Load | None = None) -> Placement:
    """A model on so many GPUs."""
    row = tables.gpu(gpu)
    for one in placements(subject.find(name), row, 8, load or Load()):
        if isinstance(one, Placement) and one.size == size:
            return one
    raise AssertionError(f"{name} does not fit on {size} x {gpu}")
