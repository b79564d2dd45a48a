"""Every text of every kind of request is read before the engine sees it."""

from __future__ import annotations

from typing import Any

import pytest

from serve_app.filtering.prompt import PromptCheck, PromptFilter
from serve_app.filtering.verdict import Action, Scanned
from tests.unit.serve_app.filtering.policies import HIDDEN, policy_of

POLICY = policy_of({"weapon": Action.MASK, "bomb": Action.BLOCK, "knife": Action.FLAG})
ROLES = ("system", "developer", "user", "assistant", "tool")


def _check(body: dict[str, Any], *, refuse_unreadable: bool = False) -> PromptCheck:
    return PromptFilter(POLICY, refuse_unreadable=refuse_unreadable).check(body)


def _chat(**message: Any) -> dict[str, Any]:
    return {"model": "qwen", "messages": [{"role": "user", **message}]}


def _part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


REQUESTS: dict[str, dict[str, Any]] = {
    **{f"message of {role}": {"messages": [{"role": role, "content": "a weapon"}]} for role in ROLES},
    "name of an author": _chat(name="weapon", content="hi"),
    "content part": _chat(content=[_part("a weapon")]),
    "content part that is a string": _chat(content=["a weapon"]),
    "refusal": _chat(content=[{"type": "refusal", "refusal": "a weapon"}]),
    "reasoning": _chat(content="hi", reasoning_content="a weapon"),
    "text beside an image": _chat(
        content=[{"type": "image_url", "image_url": {"url": "x"}, "text": "weapon"}]
    ),
    "arguments of a call": _chat(tool_calls=[{"function": {"name": "f", "arguments": '{"q": "weapon"}'}}]),
    "escapes in arguments": _chat(
        tool_calls=[{"function": {"name": "f", "arguments": '{"q": "\\u0077eapon"}'}}]
    ),
    "escapes in the result of a tool": _chat(role="tool", content='{"q": "\\u0077eapon"}'),
    "description of a tool": {"tools": [{"function": {"name": "f", "description": "a weapon"}}]},
    "schema of a tool": {
        "tools": [{"function": {"parameters": {"properties": {"p": {"enum": ["weapon"]}}}}}]
    },
    "image in the schema of a tool": {"tools": [{"content": [{"image_url": "a weapon"}]}]},
    "schema of the answer": {"response_format": {"json_schema": {"schema": {"title": "weapon"}}}},
    "chat template": {"chat_template_kwargs": {"greeting": "weapon"}},
    "completion": {"prompt": "a weapon"},
    "completions": {"prompt": ["hi", "a weapon"]},
    "suffix": {"prompt": "hi", "suffix": "a weapon"},
    "embedding": {"input": "a weapon"},
    "embeddings": {"input": ["hi", "a weapon"]},
    "query": {"query": "a weapon", "documents": ["hi"]},
    "document": {"query": "hi", "documents": ["hi", "a weapon"]},
    "document that is an object": {"query": "hi", "documents": [{"text": "a weapon"}]},
    "documents of parts": {"query": "hi", "documents": {"content": [_part("a weapon")]}},
    "score": {"text_1": "hi", "text_2": ["hi", "a weapon"]},
    "a field that nobody knows": {"prompt": "hi", "new": {"deep": [["weapon"]]}},
}


@pytest.mark.parametrize("body", REQUESTS.values(), ids=REQUESTS)
def test_a_match_is_masked_wherever_it_is(body: dict[str, Any]) -> None:
    before = repr(body)
    check = _check(body)
    assert HIDDEN in repr(check.body)
    assert "eapon" not in repr(check.body)
    assert repr(body) == before
    assert [(one.action, one.count) for one in check.verdict.findings] == [(Action.MASK, 1)]


def test_what_holds_no_match_is_the_same_object() -> None:
    body = _chat(content=[_part("hi"), _part("there")], tool_calls=[])
    check = _check(body)
    assert check.body is body
    assert check.verdict.scanned is Scanned.ALL
    assert check.verdict.action is None


def test_the_names_of_model_and_user_are_not_texts() -> None:
    body = {"model": "weapon", "user": "bomb", "request_id": "weapon", "prompt": "hi"}
    assert _check(body).body is body


def test_a_match_in_a_name_of_a_field_blocks() -> None:
    verdict = _check({"tools": [{"function": {"parameters": {"properties": {"weapon": {}}}}}]}).verdict
    assert verdict.blocking == ("mask",)


@pytest.mark.parametrize(
    ("texts", "shown"),
    [
        (["a wea", "pon!"], [f"a {HIDDEN}", "!"]),
        (["w", "e", "a", "pon", "s"], ["w", "e", "a", "pon", "s"]),
        (["weapon", "wea", "pon"], [HIDDEN, HIDDEN, ""]),
    ],
)
def test_parts_are_read_one_by_one_and_together(texts: list[str], shown: list[str]) -> None:
    parts = _check(_chat(content=[*map(_part, texts)])).body["messages"][0]["content"]
    assert [part["text"] for part in parts] == shown


def test_a_match_in_one_part_counts_once_though_it_is_read_twice() -> None:
    verdict = _check(_chat(content=[_part("a bomb. "), _part("a knife. ")])).verdict
    assert [(one.category, one.count) for one in verdict.findings] == [("block", 1), ("flag", 1)]


def test_a_phrase_split_over_parts_blocks() -> None:
    assert _check(_chat(content=[_part("bo"), _part("mb")])).verdict.blocked


@pytest.mark.parametrize(
    ("body", "unread", "scanned"),
    [
        (_chat(content=[{"type": "image_url", "image_url": {"url": "weapon"}}]), "images", Scanned.PART),
        (_chat(content=[{"input_audio": {"data": "weapon"}}]), "audio", Scanned.PART),
        (_chat(content=[{"video_url": {"url": "weapon"}}]), "videos", Scanned.PART),
        ({"prompt": [1, 2]}, "token_ids", Scanned.NOTHING),
        ({"prompt": [[1], [2]]}, "token_ids", Scanned.NOTHING),
        ({"prompt": ["hi", [2]]}, "token_ids", Scanned.PART),
        ({"input": [1]}, "token_ids", Scanned.NOTHING),
        ({"prompt_embeds": "weapon"}, "vectors", Scanned.NOTHING),
    ],
)
def test_what_is_no_text_is_named(body: dict[str, Any], unread: str, scanned: Scanned) -> None:
    verdict = _check(body).verdict
    assert (verdict.unscanned, verdict.scanned) == ((unread,), scanned)
    assert not verdict.findings
    assert _check(body, refuse_unreadable=True).verdict.blocked is (unread in ("token_ids", "vectors"))


def test_an_absent_image_is_none() -> None:
    assert _check(_chat(content=[{"type": "text", "text": "hi", "image_url": None}])).verdict.unscanned == ()


@pytest.mark.parametrize("content", [None, 5, {"type": "text"}, [None, [[]], 5], [[{"image_url": 1}]]])
def test_a_content_of_the_wrong_kind_is_left_to_the_engine(content: Any) -> None:
    body = _chat(content=content)
    assert _check(body).body is body


def test_a_body_may_be_nested_as_deeply_as_a_client_likes() -> None:
    lists: Any = "a weapon"
    objects: Any = "a weapon"
    for _ in range(50_000):
        lists, objects = [lists], {"content": objects}
    verdict = _check({"prompt": lists, "documents": objects}).verdict
    assert [one.count for one in verdict.findings] == [2]
