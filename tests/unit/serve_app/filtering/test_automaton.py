"""States are made when they are needed, and may be forgotten."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from serve_app.filtering import automaton
from serve_app.filtering.automaton import State
from serve_app.filtering.verdict import Action
from tests.unit.serve_app.filtering.chunkings import case_of, check_text, text_of
from tests.unit.serve_app.filtering.policies import policy_of


def _states(state: State, text: str) -> Iterator[State]:
    for char in text:
        state = state[char]
        yield state


def test_a_state_is_made_once() -> None:
    phrases = policy_of({"weapon": Action.BLOCK}).phrases
    start = phrases.start
    assert start["w"] is start["W"] is phrases.start["w"]
    assert start["\u200b"] is start


def test_what_is_held_and_what_may_match_are_told_apart() -> None:
    phrases = policy_of({"weapon": Action.BLOCK, "we two": Action.FLAG}).phrases
    held = [(state.depth, state.reach) for state in _states(phrases.start, "we two ")]
    # A weapon may be spelled out until the second letter of "two"; a flagged phrase is never held.
    assert [reach for _, reach in held] == [1, 2, 3, 4, 5, 6, 0]
    assert [depth for depth, _ in held] == [1, 2, 3, 0, 0, 0, 0]


def test_matches_do_not_depend_on_what_was_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automaton, "_REMEMBERED", 7)
    for seed in range(40):
        chance = random.Random(seed)  # noqa: S311
        case = case_of(chance)
        for _ in range(8):
            check_text(chance, case, text_of(chance, case))


def test_states_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automaton, "_REMEMBERED", 50)
    policy = policy_of({"weapon": Action.BLOCK})
    state = policy.phrases.start
    for char in random.Random(1).choices("weapon. \u4e2d", k=5_000):  # noqa: S311
        state = state[char]
    assert len(policy.phrases._states) <= 51


@pytest.mark.parametrize(
    ("text", "hidden"), [("a weapon", True), ("weapon", True), ("weapons", False), ("knife", False)]
)
def test_a_text_holds_something_hidden_or_not(text: str, hidden: bool) -> None:
    phrases = policy_of({"weapon": Action.MASK, "knife": Action.FLAG}).phrases
    assert phrases.hides(text) is hidden
