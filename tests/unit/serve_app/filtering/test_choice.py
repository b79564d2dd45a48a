"""Tool calls of a choice, and what a block leaves of it."""

from __future__ import annotations

import json
from typing import Any

from serve_app.filtering.choice import ChoiceFilter
from serve_app.filtering.verdict import Action
from tests.unit.serve_app.filtering.policies import HIDDEN, policy_of

POLICY = policy_of({"weather bomb": Action.BLOCK, "secret": Action.MASK})


def _call(index: int = 0, **function: str) -> dict[str, Any]:
    head = {"id": f"call-{index}", "type": "function"} if "name" in function else {}
    return {"index": index, **head, "function": function}


def _shown(choice: ChoiceFilter, *calls: dict[str, Any], ends: bool = False) -> Any:
    said: dict[str, Any] = {"tool_calls": list(calls)} if calls else {}
    choice.apply({"index": 0, "delta": said}, said, ends=ends)
    return said.get("tool_calls")


def test_a_call_whose_name_may_become_a_match_is_kept_until_its_arguments_begin() -> None:
    choice = ChoiceFilter(POLICY)
    assert _shown(choice, _call(name="get_weather")) is None
    (shown,) = _shown(choice, _call(arguments="{"))
    assert shown == {
        "index": 0,
        "id": "call-0",
        "type": "function",
        "function": {"name": "get_weather", "arguments": "{"},
    }


def test_a_call_with_another_name_is_shown_at_once() -> None:
    call = _call(name="search ")
    assert _shown(ChoiceFilter(POLICY), call) == [call]


def test_a_call_without_arguments_is_shown_at_the_end() -> None:
    choice = ChoiceFilter(POLICY)
    assert _shown(choice, _call(name="get_weather")) is None
    (shown,) = _shown(choice, ends=True)
    assert (shown["id"], shown["function"]) == ("call-0", {"name": "get_weather"})


def test_a_name_that_is_a_match_ends_the_choice_and_the_call_is_not_shown() -> None:
    choice = ChoiceFilter(POLICY)
    assert not _shown(choice, _call(name="get_weather_bomb"), _call(arguments="{}"))
    assert choice.blocked


def test_arguments_are_filtered_call_by_call_with_their_escapes() -> None:
    choice = ChoiceFilter(POLICY)
    spelled = json.dumps({"q": "secret"}).replace("s", "\\u0073", 1)
    shown = [
        *_shown(choice, _call(0, name="a ", arguments=spelled[:6]), _call(1, name="b ", arguments="{}")),
        *_shown(choice, _call(0, arguments=spelled[6:]), ends=True),
    ]
    said = "".join(one["function"].get("arguments", "") for one in shown if one["index"] == 0)
    assert json.loads(said) == {"q": HIDDEN}


def test_calls_of_whole_messages_are_told_by_their_places() -> None:
    choice = ChoiceFilter(POLICY)
    calls = [{"function": {"name": name, "arguments": '{"q":"secret"}'}} for name in ("get_weather", "b")]
    shown = _shown(choice, *calls, ends=True)
    assert [one["function"]["name"] for one in shown] == ["get_weather", "b"]
    assert [one["function"]["arguments"] for one in shown] == [f'{{"q":"{HIDDEN}"}}'] * 2


def test_the_old_form_of_a_call_is_filtered() -> None:
    said: dict[str, Any] = {"function_call": {"name": "f", "arguments": '{"q":"secret"}'}}
    ChoiceFilter(POLICY).apply({"index": 0}, said, ends=True)
    assert said["function_call"]["arguments"] == f'{{"q":"{HIDDEN}"}}'


def test_after_a_block_nothing_of_the_choice_is_shown() -> None:
    choice = ChoiceFilter(POLICY)
    said: dict[str, Any] = {"content": "a weather bomb, and", "refusal": "more"}
    whole: dict[str, Any] = {"index": 0, "delta": said, "logprobs": {"content": []}, "finish_reason": None}
    assert choice.apply(whole, said, ends=False)
    assert (said["content"], said["refusal"]) == ("a ", "")
    assert (whole["finish_reason"], whole["logprobs"]) == ("content_filter", None)
    assert choice.ended
