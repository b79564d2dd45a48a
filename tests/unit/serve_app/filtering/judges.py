"""Classifiers and judges for tests: a text with 毒 in it is bad, one with 烟 suspicious."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from deployments.call import StreamItem
from deployments.classifier_config import ClassifierConfig
from serve_app.filtering.classifier_config import JudgeConfig, LabelConfig
from serve_app.filtering.verdict import Action

BAD, SUSPICIOUS = "毒", "烟"


def config_of(**changed: Any) -> JudgeConfig:
    """A configuration with one label that blocks and one that flags."""
    labels = {
        "toxic": LabelConfig(
            category="abuse", threshold=0.5, action=Action.BLOCK, roles={"auditor": "allow"}
        ),
        "smoke": LabelConfig(category="tobacco", threshold=0.5, action=Action.FLAG),
    }
    usual = {"hold_ms": 100, "timeout_ms": 1000, "window_chars": 32}
    return JudgeConfig(**{"model": ClassifierConfig(source="guard"), "labels": labels, **usual, **changed})


def scores_of(text: str) -> dict[str, float]:
    """What a good classifier says."""
    return {"toxic": float(BAD in text), "smoke": float(SUSPICIOUS in text)}


class FakeClassifier:
    """Scores texts after a delay, unless it is broken or hangs.

    Attributes:
        calls: The texts of each call.
        most: Calls under way at once at most.
        cancelled: Calls that were.
        second_call: Set when two calls were made.
    """

    def __init__(self, delay_s: float = 0.0, error: Exception | None = None) -> None:
        self.delay_s = delay_s
        self.error = error
        self.calls: list[list[str]] = []
        self.second_call = asyncio.Event()
        self.most = self.cancelled = self._under_way = 0

    async def scores(self, texts: Sequence[str]) -> Sequence[Mapping[str, float]]:
        self.calls.append(list(texts))
        if len(self.calls) == 2:
            self.second_call.set()
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        try:
            await asyncio.sleep(self.delay_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self._under_way -= 1
        if self.error is not None:
            raise self.error
        return [scores_of(text) for text in texts]


def frame(text: str | None, reason: str | None = None, index: int = 0, name: str = "content") -> bytes:
    """A frame of a chat, in vLLM's form."""
    delta: dict[str, Any] = {} if text is None else {name: text}
    if name == "arguments":
        delta = {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
    return event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice]})


def event(content: dict[str, Any]) -> bytes:
    """A frame."""
    return f"data: {json.dumps(content, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


async def paced(*items: StreamItem | float | BaseException) -> AsyncGenerator[StreamItem, None]:
    """Items with pauses in seconds between them; an exception is raised."""
    for item in items:
        if isinstance(item, BaseException):
            raise item
        if isinstance(item, int | float):
            await asyncio.sleep(item)
        else:
            yield item


def said(frames: bytes, index: int = 0) -> tuple[str, str | None]:
    """What a choice says in some frames, and why it ended."""
    text, reason = "", None
    for line in frames.decode().split("\n\n"):
        for choice in json.loads(line[6:]).get("choices", ()) if line.startswith("data: {") else ():
            if choice["index"] == index:
                assert reason is None, "a choice went on after its end"
                delta = choice["delta"] if "delta" in choice else {"text": choice["text"]}
                text += "".join(
                    value for name, value in delta.items() if isinstance(value, str) and name != "role"
                )
                text += "".join(call["function"]["arguments"] for call in delta.get("tool_calls") or ())
                reason = choice["finish_reason"]
    return text, reason
