"""What a simulated engine sees of a prompt: how long it is, and a number that stands for its content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from zlib import crc32

PromptInput: TypeAlias = "str | list[str] | list[int] | list[list[int]]"

_CHARACTERS_PER_TOKEN = 4
"""A rule of thumb for English; there is no tokenizer."""

_MESSAGE_TOKENS = 5
"""What Qwen's chat template writes around a message."""

_IMAGE_TOKENS = 256
"""An image of 448 x 448 pixels in Qwen2-VL."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt.

    Attributes:
        tokens: Its length, estimated unless it came as token ids.
        digest: Stands for its content; the same prompt has the same.
    """

    tokens: int
    digest: int


def of_text(text: str, digest: int = 0) -> Prompt:
    """A prompt in writing.

    Args:
        text: All of it.
        digest: Of what comes before it.
    """
    return Prompt(-(-len(text) // _CHARACTERS_PER_TOKEN) or 1, crc32(text.encode(errors="replace"), digest))


def of_input(given: PromptInput) -> list[Prompt]:
    """The prompts of a completion or an embedding: one text, one list of token ids, or several of either."""
    if isinstance(given, str):
        return [of_text(given)]
    if given and isinstance(given[0], int):
        return [_of_ids(given)]
    return [of_text(item) if isinstance(item, str) else _of_ids(item) for item in given]


def of_documents(given: Any) -> list[Prompt]:
    """The texts of a score: one or several, each a string or what vLLM takes in its place."""
    items = given if isinstance(given, list) else [given]
    return [of_text(item if isinstance(item, str) else repr(item)) for item in items]


def of_messages(messages: Iterable[Mapping[str, Any]]) -> Prompt:
    """The prompt of a chat."""
    tokens, digest = _MESSAGE_TOKENS, 0
    for message in messages:
        content = message.get("content") or ""
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        digest = crc32(str(message.get("role")).encode(), digest)
        tokens += _MESSAGE_TOKENS
        for part in parts:
            text = part.get("text")
            prompt = of_text(text if isinstance(text, str) else repr(part), digest)
            tokens += prompt.tokens if isinstance(text, str) else _IMAGE_TOKENS
            digest = prompt.digest
    return Prompt(tokens, digest)


def _of_ids(ids: Any) -> Prompt:
    return Prompt(max(1, len(ids)), crc32(repr(ids).encode()))
