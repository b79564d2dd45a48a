"""Decoding of JSON, and what the ingress reads of it."""

from __future__ import annotations

from typing import Any

import pytest

from serve_app import schema
from serve_app.errors import InvalidRequest


def test_fields_that_are_not_read_pass_through() -> None:
    body = schema.decode(b'{"model":"a","messages":[{"role":"user","content":"x","name":"n"}],"min_p":0.1}')
    asked = schema.validate(schema.ChatRequest, body)

    assert asked.model == "a"
    assert body["min_p"] == 0.1
    assert body["messages"][0]["name"] == "n"


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant", "tool"])
def test_every_role_of_openai_is_taken(role: str) -> None:
    schema.validate(schema.ChatRequest, {"model": "a", "messages": [{"role": role, "content": None}]})


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (
            {"model": "a", "messages": [{"role": "user", "content": [{"type": 1}]}]},
            "messages[0].content[0].type",
        ),
        ({"model": "a", "messages": [{"role": "user"}], "stop": [1]}, "stop[0]"),
        ({"model": "a", "messages": [{"role": "user"}], "stop": {"a": 1}}, "stop"),
    ],
)
def test_path_names_the_field_without_the_names_of_union_branches(body: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        schema.validate(schema.ChatRequest, body)
    assert refused.value.param == path


def test_body_that_is_not_json_says_where_it_breaks() -> None:
    with pytest.raises(InvalidRequest, match="line 1 column"):
        schema.decode(b'{"model": }')


def test_message_does_not_repeat_the_input() -> None:
    with pytest.raises(InvalidRequest) as refused:
        schema.validate(schema.ChatRequest, {"model": "a", "messages": "my secret prompt"})
    assert "secret" not in refused.value.message
