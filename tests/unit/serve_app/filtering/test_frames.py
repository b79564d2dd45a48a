"""Events in, events out: what is sent of a stream, and when."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from serve_app.filtering.frames import AnswerFilter
from serve_app.filtering.verdict import Action, Scanned
from tests.unit.serve_app.filtering.policies import HIDDEN, policy_of
from tests.unit.serve_app.filtering.sse import (
    DONE,
    choices,
    event,
    frame,
    reasons,
    text,
    text_frame,
    usage_frame,
)

BLOCKING = policy_of({"weapon": Action.BLOCK})
MASKING = policy_of({"weapon": Action.MASK})
ROLE = frame(role="assistant", content="")


def _sent(answer: AnswerFilter, frames: Iterable[bytes]) -> bytes:
    return b"".join(map(answer.feed, frames))


def test_ordinary_frames_pass_at_once_and_byte_by_byte_the_same() -> None:
    answer = AnswerFilter(BLOCKING, 1)
    spaced = b'data: {"choices": [{"index": 0, "delta": {"content": "a "}, "finish_reason": null}]}\n\n'
    for one in (
        ROLE,
        frame(content="Hi, "),
        frame(content="\u4f60\u597d \\n\n"),
        spaced,
        frame(reason="stop"),
        DONE,
    ):
        assert answer.feed(one) == one


def test_a_frame_is_sent_when_its_last_byte_has_come() -> None:
    answer = AnswerFilter(BLOCKING, 1)
    one = frame(content="Hi, ")
    assert [answer.feed(one[place : place + 1]) for place in range(len(one))] == [b""] * (len(one) - 1) + [
        one
    ]


def test_what_may_become_a_match_waits_and_then_comes_with_what_follows() -> None:
    answer = AnswerFilter(BLOCKING, 1)
    assert text(_sent(answer, [ROLE, frame(content="a wea")])) == "a "
    assert answer.feed(frame(content="po")) == b""
    assert text(answer.feed(frame(content="t"))) == "weapot"


@pytest.mark.parametrize("last", [[frame(reason="stop")], [DONE], [usage_frame(), DONE]])
def test_text_that_is_held_at_a_proper_end_is_sent(last: list[bytes]) -> None:
    answer = AnswerFilter(BLOCKING, 1)
    _sent(answer, [ROLE, frame(content="wea")])
    sent = _sent(answer, last)
    assert text(sent) == "wea"
    assert sent.endswith(last[-1]) or reasons(sent) == {0: "stop"}


def test_a_match_that_the_end_completes_is_blocked_without_a_finish_reason_too() -> None:
    answer = AnswerFilter(BLOCKING, 1)
    sent = _sent(answer, [ROLE, frame(content="weapon"), DONE])
    assert text(sent) == ""
    assert reasons(sent) == {0: "content_filter"}


def test_text_of_completions_that_is_held_at_a_proper_end_is_sent() -> None:
    answer = AnswerFilter(BLOCKING, 1)
    sent = _sent(answer, [text_frame("so, "), text_frame("wea"), DONE])
    assert [one["text"] for one in choices(sent)] == ["so, ", "wea"]


def test_text_that_is_held_when_a_stream_fails_or_breaks_off_is_not_sent() -> None:
    for last in (event({"error": {"message": "engine died"}}), b""):
        answer = AnswerFilter(BLOCKING, 1)
        sent = _sent(answer, [ROLE, frame(content="a wea"), last, DONE if last else b""])
        assert text(sent) == "a "
        assert last in sent


def test_a_frame_that_is_cut_off_is_not_sent() -> None:
    answer = AnswerFilter(BLOCKING, 1)
    assert answer.feed(ROLE + frame(content="Hi")[:-1]) == ROLE


@pytest.mark.parametrize("broken", [b"data: {\n\n", b"data: 5\n\n", b'data: {"choices":[{]}\n\n'])
def test_an_event_that_cannot_be_read_is_an_error_and_not_sent(broken: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        AnswerFilter(BLOCKING, 1).feed(broken)


def test_comments_pass_and_events_of_several_lines_are_read() -> None:
    answer = AnswerFilter(MASKING, 1)
    assert answer.feed(b": keep-alive\n\n") == b": keep-alive\n\n"
    lines = b"event: message\n" + frame(content="a weapon.").replace(b"data: ", b"data:", 1)
    sent = answer.feed(lines)
    assert sent.startswith(b"event: message\ndata: ")
    assert HIDDEN.encode() in sent
    assert b"weapon" not in sent


def test_a_blocked_choice_ends_and_the_others_go_on() -> None:
    answer = AnswerFilter(BLOCKING, 2)
    sent = _sent(answer, [frame(0, content="a weapon. More"), frame(1, content="fine. ")])
    assert not answer.stopped
    sent += _sent(answer, [frame(0, content="and more"), frame(1, content="Done."), frame(1, "stop")])
    assert (text(sent, 0), text(sent, 1)) == ("a ", "fine. Done.")
    assert reasons(sent) == {0: "content_filter", 1: "stop"}
    assert answer.stopped


def test_an_engine_that_has_finished_need_not_be_stopped() -> None:
    answer = AnswerFilter(BLOCKING, 1)
    _sent(answer, [ROLE, frame(content="weapon"), frame(reason="stop")])
    assert answer.verdict.blocked
    assert not answer.stopped
    assert answer.feed(usage_frame()) == usage_frame()


def test_nothing_is_stopped_before_all_choices_have_begun() -> None:
    answer = AnswerFilter(BLOCKING, 2)
    _sent(answer, [frame(0, content="weapon. ")])
    assert answer.verdict.blocked
    assert not answer.stopped


def test_the_usage_within_a_frame_of_which_nothing_is_left_is_left_out() -> None:
    answer = AnswerFilter(BLOCKING, 1)
    choice = {"index": 0, "delta": {"content": "wea"}, "finish_reason": None}
    assert _sent(answer, [ROLE, event({"choices": [choice], "usage": {"total_tokens": 1}})]) == ROLE


@pytest.mark.parametrize("name", ["content", "reasoning_content", "reasoning", "refusal", "some_new_field"])
def test_every_text_of_a_delta_is_filtered(name: str) -> None:
    answer = AnswerFilter(MASKING, 1)
    pieces: list[dict[str, Any]] = [{name: "a wea"}, {name: "pon"}]
    sent = _sent(answer, [ROLE, *(frame(**piece) for piece in pieces), frame(reason="stop")])
    assert "".join(one["delta"].get(name, "") for one in choices(sent)) == f"a {HIDDEN}"


def test_phrases_in_json_escapes_of_a_frame_are_found() -> None:
    answer = AnswerFilter(MASKING, 1)
    escaped = "".join(f"\\u{ord(char):04x}" for char in "weapon").encode()
    sent = _sent(answer, [ROLE, frame(content="WEAPON").replace(b"WEAPON", escaped), frame(reason="stop")])
    assert text(sent) == HIDDEN


def test_a_masked_text_stays_json() -> None:
    answer = AnswerFilter(MASKING, 1)
    sent = _sent(answer, [ROLE, frame(content="we"), frame(content='apon "x" \\ y'), frame(reason="stop")])
    assert text(sent) == f'{HIDDEN} "x" \\ y'


def test_whole_answers_are_filtered_choice_by_choice() -> None:
    answer = AnswerFilter(policy_of({"weapon": Action.BLOCK, "bomb": Action.MASK}), 3)
    said = ["a weapon!", "a bomb!", "fine"]
    body = {
        "choices": [
            {"index": index, "message": {"role": "assistant", "content": one}, "finish_reason": "stop"}
            for index, one in enumerate(said)
        ]
    }
    shown = json.loads(answer.body(json.dumps(body).encode()))["choices"]
    assert [one["message"]["content"] for one in shown] == ["a ", f"a {HIDDEN}!", "fine"]
    assert [one["finish_reason"] for one in shown] == ["content_filter", "stop", "stop"]


def test_whole_completions_are_filtered() -> None:
    body = json.dumps({"choices": [{"index": 0, "text": "a weapon", "finish_reason": "stop"}]}).encode()
    assert json.loads(AnswerFilter(MASKING, 1).body(body))["choices"][0]["text"] == f"a {HIDDEN}"


@pytest.mark.parametrize(
    "body", [b'{"data": [{"embedding": [0.25]}]}', b'{"choices":[{"message":{"content": "ok"}}]}']
)
def test_answers_without_a_match_pass_as_the_same_bytes(body: bytes) -> None:
    assert AnswerFilter(BLOCKING, 1).body(body) is body


def test_without_a_policy_everything_passes_and_the_verdict_says_that_nothing_was_read() -> None:
    answer = AnswerFilter(None, 1)
    assert answer.feed(b"data: {") == b"data: {"
    assert answer.body(b"?") == b"?"
    assert answer.verdict.scanned is Scanned.NOTHING
    assert not answer.stopped
