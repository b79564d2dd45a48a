"""Reasons kept."""

from __future__ import annotations

from deployments.fleet import Action, Journal, Reason


def reason(at: float, words: str = "why", model: str = "m") -> Reason:
    return Reason(at, model, Action.WAIT, words)


def test_repeated_reason_takes_one_place_and_is_no_news() -> None:
    journal = Journal(10)
    assert len(journal.record([reason(1)])) == 1
    assert journal.record([reason(2)]) == []
    (entry,) = journal.entries()
    assert (entry.reason.at, entry.last_at, entry.times) == (1, 2, 2)


def test_same_words_after_a_silence_are_news() -> None:
    journal = Journal(10)
    journal.record([reason(1)])
    assert journal.record([reason(100)])


def test_oldest_go_first_and_a_model_has_its_own() -> None:
    journal = Journal(2)
    journal.record([reason(1, "a"), reason(1, "b", "n"), reason(2, "c")])
    assert [entry.reason.words for entry in journal.entries()] == ["b", "c"]
    assert [entry.reason.words for entry in journal.entries("n")] == ["b"]
