"""Policies of a few phrases, without files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from serve_app.filtering import policy
from serve_app.filtering.config import FilteringConfig, LexiconConfig, PersonalData
from serve_app.filtering.lexicon import Lexicon
from serve_app.filtering.phrases import folded_phrase
from serve_app.filtering.policy import Policy
from serve_app.filtering.rules import RuleConfig
from serve_app.filtering.verdict import Action

HIDDEN = "[filtered]"


def policy_of(
    phrases: Mapping[str, Action],
    patterns: Mapping[PersonalData, Action] | None = None,
    max_separators: int = 6,
) -> Policy:
    """A policy whose categories are called like the actions."""
    config = FilteringConfig(
        lexicons=tuple(LexiconConfig(category=one, files=(Path(one),), action=one) for one in Action),
        patterns={kind: RuleConfig(action=action) for kind, action in (patterns or {}).items()},
        placeholder=HIDDEN,
        max_separators=max_separators,
    )
    folded = {folded_phrase(phrase): frozenset({str(action)}) for phrase, action in phrases.items()}
    return policy.build(config, Lexicon(folded, "v1"), policy.actions_for(config, frozenset()))
