"""What is looked for, for whom."""

from __future__ import annotations

from typing import Any

import pytest

from serve_app.filtering import policy
from serve_app.filtering.config import FilteringConfig
from serve_app.filtering.lexicon import Lexicon
from serve_app.filtering.stream import TextStream
from serve_app.filtering.verdict import Action
from tests.unit.serve_app.filtering.policies import policy_of


def _config(*lexicons: dict[str, Any]) -> FilteringConfig:
    whole = [{"files": ["x.txt"], **one} for one in lexicons]
    return FilteringConfig.model_validate({"lexicons": whole, "patterns": {}})


@pytest.mark.parametrize(
    ("roles", "actions"),
    [
        (set(), {"arms": "block", "drugs": "flag"}),
        ({"editor"}, {"arms": "mask", "drugs": "block"}),
        ({"editor", "admin"}, {"drugs": "block"}),
    ],
)
def test_actions_depend_on_roles(roles: set[str], actions: dict[str, str]) -> None:
    config = _config(
        {"category": "arms", "action": "block", "roles": {"editor": "mask", "admin": "allow"}},
        {"category": "drugs", "action": "flag", "roles": {"editor": "block"}},
    )
    assert policy.actions_for(config, frozenset(roles)) == actions


def test_the_strictest_action_of_a_phrases_categories_is_taken_and_all_are_found() -> None:
    config = _config({"category": "arms", "action": "flag"}, {"category": "export", "action": "mask"})
    phrases = Lexicon({"weapon": frozenset({"arms", "export"})}, "v1")
    stream = TextStream(policy.build(config, phrases, policy.actions_for(config, frozenset())))
    assert stream.feed("a weapon. ") == "a [filtered]. "
    assert stream.found == {("arms", Action.FLAG): 1, ("export", Action.MASK): 1}


def test_a_policy_that_allows_everything_looks_for_nothing() -> None:
    config = _config({"category": "arms", "action": "block"})
    phrases = Lexicon({"weapon": frozenset({"arms"})}, "v1")
    assert not policy.build(config, phrases, {}).looks
    assert policy.build(config, phrases, {"arms": Action.FLAG}).looks


def test_tokens_that_are_matches_are_hidden_and_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "_TOKENS", 2)
    some = policy_of({"weapon": Action.MASK, "knife": Action.FLAG, "\u70b8\u5f39": Action.BLOCK})
    hidden = {" weapon": True, "weapons": False, "knife": False, "\u70b8\u5f39": True, "": False}
    for _ in range(2):
        assert {token: some.hides(token) for token in hidden} == hidden
