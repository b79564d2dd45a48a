"""What a verdict tells, and what it never does."""

from __future__ import annotations

import json
from collections import Counter

from serve_app.filtering.verdict import Action, Finding, Scanned, Verdict, findings


def test_actions_are_ordered_and_hide_or_not() -> None:
    assert sorted(Action, key=lambda action: action.strictness) == [Action.FLAG, Action.MASK, Action.BLOCK]
    assert [action.hides for action in Action] == [False, True, True]


def test_findings_of_several_texts_are_added() -> None:
    first, second = Counter({("b", Action.MASK): 2}), Counter({("b", Action.MASK): 1, ("a", Action.FLAG): 1})
    assert findings([first, second]) == (Finding("a", Action.FLAG, 1), Finding("b", Action.MASK, 3))


def test_the_strictest_action_counts() -> None:
    found = (Finding("a", Action.FLAG, 1), Finding("b", Action.BLOCK, 1), Finding("c", Action.MASK, 1))
    verdict = Verdict(found, "v1", Scanned.ALL)
    assert verdict.action is Action.BLOCK
    assert verdict.blocked
    assert verdict.blocking == ("b",)
    nothing = Verdict((), "v1", Scanned.ALL)
    assert (nothing.action, nothing.blocked, nothing.blocking) == (None, False, ())


def test_its_record_is_plain_json() -> None:
    verdict = Verdict((Finding("a", Action.MASK, 2),), "v1", Scanned.PART, ("images",))
    assert json.loads(json.dumps(verdict.record())) == {
        "action": "mask",
        "findings": [{"category": "a", "action": "mask", "count": 2}],
        "lexicon_version": "v1",
        "scanned": "part",
        "unscanned": ["images"],
    }
