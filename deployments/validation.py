"""Which of pydantic's many complaints about one body is worth telling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def first_fault(error: ValidationError) -> ErrorDetails:
    """The complaint that tells most, of those about the first field at fault.

    Every branch of a union complains. The branch that the client meant is the one that matched furthest:
    its complaint lies deepest, and is not that the value is of another type altogether.
    """
    faults = error.errors(include_url=False, include_input=False)
    same_field = [fault for fault in faults if fault["loc"][:1] == faults[0]["loc"][:1]]
    return max(same_field, key=_weight)


_SHAPE = ("_type", "literal_error", "missing")
"""Kinds of complaint that a value of another branch of a union earns."""


def _weight(fault: ErrorDetails) -> tuple[int, bool]:
    depth = sum(isinstance(part, int) for part in fault["loc"])
    return depth, not fault["type"].endswith(_SHAPE)
