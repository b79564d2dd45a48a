"""What the filter found, without ever repeating it: categories, actions and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Action(StrEnum):
    """What is done about a match, from the mildest to the strictest."""

    FLAG = "flag"
    MASK = "mask"
    BLOCK = "block"

    @property
    def strictness(self) -> int:
        """Orders actions: the larger, the stricter."""
        return list(Action).index(self)

    @property
    def hides(self) -> bool:
        """Whether the matched text must not be shown."""
        return self is not Action.FLAG


class Scanned(StrEnum):
    """How much of what could be read as text was read."""

    ALL = "all"
    PART = "part"
    NOTHING = "nothing"


Tally = Counter[tuple[str, Action]]
"""Matches by category and action."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Matches of one category.

    Attributes:
        category: Of a lexicon, or the kind of personal data.
        action: What was done.
        count: How many there were.
    """

    category: str
    action: Action
    count: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found in a prompt or in an answer.

    Attributes:
        findings: By category; empty: nothing was found.
        lexicon_version: Of the lexicons that were asked.
        scanned: How much was read.
        unscanned: What was not read, such as ``images`` or ``token_ids``.
    """

    findings: tuple[Finding, ...]
    lexicon_version: str
    scanned: Scanned
    unscanned: tuple[str, ...] = ()

    @property
    def action(self) -> Action | None:
        """The strictest action that was taken; None where nothing was found."""
        return max((finding.action for finding in self.findings), key=lambda a: a.strictness, default=None)

    @property
    def blocked(self) -> bool:
        """Whether the prompt must not be answered, or the answer was ended."""
        return self.action is Action.BLOCK

    @property
    def blocking(self) -> tuple[str, ...]:
        """The categories for which it was blocked; safe to tell the client."""
        return tuple(finding.category for finding in self.findings if finding.action is Action.BLOCK)

    def record(self) -> Mapping[str, Any]:
        """The verdict as plain JSON values, for the audit."""
        return {
            "action": self.action,
            "findings": [
                {"category": one.category, "action": one.action, "count": one.count} for one in self.findings
            ],
            "lexicon_version": self.lexicon_version,
            "scanned": self.scanned,
            "unscanned": list(self.unscanned),
        }


def findings(tallies: Iterable[Tally]) -> tuple[Finding, ...]:
    """The findings of several texts together, sorted by category."""
    total: Tally = Counter()
    for tally in tallies:
        total.update(tally)
    return tuple(Finding(category, action, count) for (category, action), count in sorted(total.items()))
