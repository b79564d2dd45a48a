"""The banner can be pasted as it is."""

from __future__ import annotations

import ast
import json
import shlex
from pathlib import Path

import pytest

from cluster.local import banner
from cluster.local.serve_file import ServedModel

_URL = "http://127.0.0.1:8001"
_TOKEN = "header.claims.signature"


def _model(kind: str) -> ServedModel:
    return ServedModel(f"demo-{kind}", kind, f"models/demo-{kind}")


def _example(text: str) -> str:
    return text[text.index("from openai") :]


def _curl(text: str) -> list[str]:
    """The words of the curl command, as a shell splits them."""
    start = text.index("curl -s")
    return shlex.split(text[start : text.index("'", text.index("-d '") + 4) + 1].replace("\\\n", " "))


def test_shows_the_address_and_the_token() -> None:
    text = banner.render(_URL, _TOKEN, [_model("text")])

    assert f"{_URL}/v1" in text
    assert f"export QWEN_SERVE_TOKEN='{_TOKEN}'" in text


@pytest.mark.parametrize("kind", ["text", "vision-language", "embedding"])
def test_sdk_example_is_python_of_at_most_ten_lines(kind: str) -> None:
    example = _example(banner.render(_URL, _TOKEN, [_model(kind)]))

    ast.parse(example)
    assert len(example.splitlines()) <= 10
    assert _TOKEN in example
    assert f'model="demo-{kind}"' in example


@pytest.mark.parametrize(
    ("kind", "route"),
    [
        ("text", "chat/completions"),
        ("vision-language", "chat/completions"),
        ("embedding", "embeddings"),
        ("reranker", "rerank"),
    ],
)
def test_curl_line_asks_the_route_of_the_kind(kind: str, route: str) -> None:
    words = _curl(banner.render(_URL, _TOKEN, [_model(kind)]))

    assert words[2] == f"{_URL}/v1/{route}"
    assert json.loads(words[-1])["model"] == f"demo-{kind}"


def test_text_model_is_preferred_to_an_earlier_one() -> None:
    text = banner.render(_URL, _TOKEN, [_model("embedding"), _model("text")])

    assert json.loads(_curl(text)[-1])["messages"][0]["content"] == "What is the capital of France?"


def test_no_placeholder_is_left() -> None:
    for kind in ("text", "embedding", "reranker"):
        text = banner.render(_URL, _TOKEN, [_model(kind)])
        assert not any(word in text for word in ("<url>", "<model>", "<question>", "<token>", "PATH", "BODY"))


def test_examples_trust_the_certificate_that_was_made_here() -> None:
    text = banner.render("https://127.0.0.1:8443", _TOKEN, [_model("text")], Path("/a folder/ca.pem"))

    assert "export SSL_CERT_FILE='/a folder/ca.pem'" in text
    words = _curl(text)
    assert words[words.index("--cacert") + 1] == "/a folder/ca.pem"
