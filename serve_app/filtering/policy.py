"""What is looked for in the texts of a caller: lexicons and patterns, with the actions for its roles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from serve_app.filtering.automaton import Automaton, Rule
from serve_app.filtering.config import FilteringConfig
from serve_app.filtering.lexicon import Lexicon
from serve_app.filtering.patterns import PatternAutomaton
from serve_app.filtering.personal import CHECKS, PATTERNS
from serve_app.filtering.phrases import PhraseAutomaton
from serve_app.filtering.rules import RuleConfig
from serve_app.filtering.verdict import Action

_TOKENS: Final = 50_000
"""Tokens of which it is remembered whether they are hidden."""

Actions = Mapping[str, Action]
"""By category; a category that is missing is allowed."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What is looked for.

    Attributes:
        phrases: Finds the lexicons' phrases.
        patterns: Finds personal data.
        placeholder: Stands where a match was masked.
        lexicon_version: Of the lexicons.
        looks: Whether there is anything to look for.
    """

    phrases: Automaton[Any]
    patterns: Automaton[Any]
    placeholder: str
    lexicon_version: str
    looks: bool
    _hidden: dict[str, bool] = field(default_factory=dict, repr=False, compare=False)

    def hides(self, token: str) -> bool:
        """Whether a token by itself is something that must not be shown, as far as its form tells."""
        hidden = self._hidden.get(token)
        if hidden is None:
            if len(self._hidden) >= _TOKENS:
                self._hidden.clear()
            hidden = self._hidden[token] = self.phrases.hides(token) or self.patterns.hides(token)
        return hidden


def actions_for(config: FilteringConfig, roles: frozenset[str]) -> dict[str, Action]:
    """The action of each category for a caller; without a mention of its roles, the category's own."""
    rules: dict[str, RuleConfig] = {lexicon.category: lexicon for lexicon in config.lexicons}
    rules |= {kind.value: rule for kind, rule in config.patterns.items()}
    resolved = {category: rule.action_for(roles) for category, rule in rules.items()}
    return {category: action for category, action in resolved.items() if action is not None}


def build(config: FilteringConfig, lexicon: Lexicon, actions: Actions) -> Policy:
    """The automata for a set of actions."""
    combined: dict[frozenset[str], Rule | None] = {}
    phrases: dict[str, Rule] = {}
    for phrase, categories in lexicon.phrases.items():
        if categories not in combined:
            combined[categories] = _rule(categories, actions)
        rule = combined[categories]
        if rule is not None:
            phrases[phrase] = rule
    patterns = [
        (pattern, Rule(((kind.value, actions[kind]),), actions[kind], CHECKS.get(kind)))
        for kind in config.patterns
        if kind in actions
        for pattern in PATTERNS[kind]
    ]
    return Policy(
        phrases=PhraseAutomaton(phrases, config.max_separators),
        patterns=PatternAutomaton(patterns),
        placeholder=config.placeholder,
        lexicon_version=lexicon.version,
        looks=bool(phrases or patterns),
    )


def _rule(categories: frozenset[str], actions: Actions) -> Rule | None:
    findings = tuple((name, actions[name]) for name in sorted(categories) if name in actions)
    if not findings:
        return None
    return Rule(findings, max((action for _, action in findings), key=lambda action: action.strictness))
