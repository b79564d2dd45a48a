"""Log probabilities and token ids never show what the text hides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from serve_app.filtering.frames import AnswerFilter
from serve_app.filtering.verdict import Action
from tests.unit.serve_app.filtering.policies import policy_of
from tests.unit.serve_app.filtering.sse import choices, event, frame, reasons

MASKING = policy_of({"weapon": Action.MASK, "\u70b8\u5f39": Action.MASK})
BLOCKING = policy_of({"weapon": Action.BLOCK})


def _spelled(*tokens: str | bytes, others: Sequence[str] = ()) -> dict[str, Any]:
    """Log probabilities of a chat."""
    entries = []
    for token in tokens:
        spelled = token if isinstance(token, bytes) else token.encode()
        top = [{"token": one, "logprob": -1.0, "bytes": [*one.encode()]} for one in others]
        entries.append(
            {
                "token": spelled.decode(errors="replace"),
                "logprob": -0.5,
                "bytes": [*spelled],
                "top_logprobs": top,
            }
        )
    return {"content": entries}


def _tokens(sent: bytes) -> list[str]:
    return [
        entry["token"]
        for choice in choices(sent)
        for entry in (choice.get("logprobs") or {}).get("content", ())
    ]


def _ids(sent: bytes) -> list[int]:
    return [one for choice in choices(sent) for one in choice.get("token_ids") or ()]


def _with_ids(content: str, ids: list[int], reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "token_ids": ids, "finish_reason": reason}
    return event({"choices": [choice]})


def test_they_come_with_their_text_and_wait_with_it() -> None:
    answer = AnswerFilter(MASKING, 1)
    assert _tokens(answer.feed(frame(content="a ", logprobs=_spelled("a ")))) == ["a "]
    assert _tokens(answer.feed(frame(content="wea", logprobs=_spelled("wea")))) == []
    assert _tokens(answer.feed(frame(content="k", logprobs=_spelled("k")))) == ["wea", "k"]


def test_those_of_a_masked_text_are_dropped() -> None:
    answer = AnswerFilter(MASKING, 1)
    pieces = ["a ", "wea", "pon", ". "]
    sent = b"".join(answer.feed(frame(content=one, logprobs=_spelled(one))) for one in pieces)
    assert _tokens(sent) == ["a ", ". "]


def test_half_a_character_waits_for_the_other_half() -> None:
    answer = AnswerFilter(MASKING, 1)
    first, second = "\u70b8".encode()[:2], "\u70b8".encode()[2:]
    sent = answer.feed(frame(content="", logprobs=_spelled(first)))
    sent += answer.feed(frame(content="\u70b8", logprobs=_spelled(second)))
    assert _tokens(sent) == []
    sent += answer.feed(frame(content="\u5f39", logprobs=_spelled("\u5f39")))
    sent += answer.feed(frame(content="!", reason="stop", logprobs=_spelled("!")))
    assert _tokens(sent) == ["!"]


def test_tokens_whose_text_comes_later_are_read_by_themselves() -> None:
    answer = AnswerFilter(MASKING, 1)
    sent = b"".join(answer.feed(frame(content="", logprobs=_spelled(one))) for one in ("wea", "pon", ". "))
    assert _tokens(sent) == [". "]


def test_a_blocked_phrase_in_the_tokens_alone_ends_the_choice() -> None:
    answer = AnswerFilter(BLOCKING, 1)
    sent = b"".join(answer.feed(frame(content="", logprobs=_spelled(one))) for one in ("wea", "pon", ". "))
    assert reasons(sent) == {0: "content_filter"}
    assert _tokens(sent) == []
    assert [one.count for one in answer.verdict.findings] == [1]


def test_a_match_in_text_and_tokens_counts_once() -> None:
    answer = AnswerFilter(BLOCKING, 1)
    answer.feed(frame(content="weapon. ", logprobs=_spelled("weapon. ")))
    assert [one.count for one in answer.verdict.findings] == [1]


def test_alternatives_that_are_matches_are_dropped() -> None:
    answer = AnswerFilter(MASKING, 1)
    sent = answer.feed(frame(content="a ", logprobs=_spelled("a ", others=["a ", " weapon", "b "])))
    (entry,) = choices(sent)[0]["logprobs"]["content"]
    assert [one["token"] for one in entry["top_logprobs"]] == ["a ", "b "]


def test_alternatives_of_completions_that_are_matches_are_dropped() -> None:
    logprobs = {"tokens": ["a "], "token_logprobs": [-0.5], "top_logprobs": [{"a ": -0.5, "weapon": -1}]}
    choice = {"index": 0, "text": "a ", "logprobs": logprobs, "finish_reason": None}
    sent = AnswerFilter(MASKING, 1).feed(event({"choices": [choice]}))
    assert choices(sent)[0]["logprobs"]["top_logprobs"] == [{"a ": -0.5}]


def test_ids_alone_come_at_the_end_of_a_choice_that_hides_nothing() -> None:
    answer = AnswerFilter(MASKING, 1)
    assert _ids(answer.feed(_with_ids("a ", [1])) + answer.feed(_with_ids("b ", [2, 3]))) == []
    assert _ids(answer.feed(_with_ids("", [4], "stop"))) == [1, 2, 3, 4]


def test_ids_alone_never_come_where_something_is_hidden() -> None:
    answer = AnswerFilter(MASKING, 1)
    sent = b"".join(answer.feed(_with_ids(one, [n])) for n, one in enumerate(("a ", "wea", "pon", ". ")))
    assert _ids(sent + answer.feed(_with_ids("", [9], "stop"))) == []


def test_tokens_spelled_as_ids_are_ids() -> None:
    answer = AnswerFilter(MASKING, 1)
    sent = answer.feed(frame(content="a ", logprobs=_spelled("token_id:5", others=["token_id:6"])))
    assert _tokens(sent) == []
    sent = answer.feed(frame(reason="stop"))
    assert _tokens(sent) == ["token_id:5"]
    assert b"token_id:6" not in sent
