"""Frames as vLLM writes them, and what a client reads of them."""

from __future__ import annotations

import json
from typing import Any

DONE = b"data: [DONE]\n\n"
_HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "qwen"}
_COMPLETION = {**_HEAD, "object": "text_completion"}


def frame(index: int = 0, reason: str | None = None, *, logprobs: Any = None, **delta: Any) -> bytes:
    """A frame of a chat."""
    choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
    return event({**_HEAD, "choices": [choice]})


def text_frame(text: str, index: int = 0, reason: str | None = None) -> bytes:
    """A frame of a completion."""
    choice = {"index": index, "text": text, "logprobs": None, "finish_reason": reason, "stop_reason": None}
    return event({**_COMPLETION, "choices": [choice]})


def usage_frame() -> bytes:
    """The last frame of a stream whose client asked for the usage."""
    return event({**_HEAD, "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})


def event(value: Any) -> bytes:
    """Any value as a frame."""
    return f"data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def choices(sent: bytes) -> list[dict[str, Any]]:
    """The choices in frames, in order."""
    events = [one for one in sent.split(b"\n\n") if one.startswith(b"data: {")]
    return [choice for one in events for choice in json.loads(one[6:]).get("choices", ())]


def text(sent: bytes, index: int = 0) -> str:
    """The content of a choice."""
    mine = [choice for choice in choices(sent) if choice["index"] == index]
    return "".join(choice.get("delta", choice).get("content") or choice.get("text") or "" for choice in mine)


def reasons(sent: bytes) -> dict[int, str]:
    """Why choices ended."""
    return {one["index"]: one["finish_reason"] for one in choices(sent) if one["finish_reason"]}
