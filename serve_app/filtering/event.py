"""Answers as JSON: where a choice's texts are, and what is left of one that the classifier blocks."""

from __future__ import annotations

import json
from typing import Any, Final

import pydantic_core

CONTENT_FILTER: Final = "content_filter"
"""The ``finish_reason`` of a choice that was blocked."""

END: Final = b"\n\n"
_DATA: Final = b"data: "
_OBJECT: Final = b"data: {"
_TOKEN_FIELDS: Final = ("logprobs", "token_ids")


def read(frame: bytes) -> dict[str, Any]:
    """The object of a frame; empty: it has none, as ``[DONE]`` and comments."""
    event: dict[str, Any] = pydantic_core.from_json(frame[len(_DATA) :]) if frame.startswith(_OBJECT) else {}
    return event


def write(event: dict[str, Any]) -> bytes:
    """A frame with an object."""
    return _DATA + dump(event) + END


def dump(value: dict[str, Any]) -> bytes:
    """An object as JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def said(choice: dict[str, Any]) -> dict[str, Any]:
    """The object that holds a choice's texts."""
    for name in ("delta", "message"):
        if isinstance(choice.get(name), dict):
            found: dict[str, Any] = choice[name]
            return found
    return {"text": choice.get("text")}


def blocked(choice: dict[str, Any]) -> dict[str, Any]:
    """A choice like this one that says nothing but that it was blocked."""
    left: dict[str, Any] = {"text": ""}
    if "delta" in choice:
        left = {"delta": {}}
    elif "message" in choice:
        left = {"message": {"role": "assistant", "content": ""}}
    left |= {name: None for name in _TOKEN_FIELDS if name in choice}
    return {**choice, **left, "finish_reason": CONTENT_FILTER}
