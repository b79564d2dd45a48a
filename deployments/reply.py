"""From the engine's replies to what the client gets: names, reasoning, usage.

Frames are handled as bytes. The replacements below are exact: they name JSON keys together with their
quotes, and inside a JSON string every quote is escaped, so that no text of a model or a client can
look like a key.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from deployments.call import Answer, Frame, Usage
from deployments.timing import Stopwatch


class ReplyFormat:
    """Turns the replies of one model into OpenAI's form for one call.

    Args:
        model_id: The name that the engine writes.
        asked: The name that the client asked for, and reads.
    """

    def __init__(self, model_id: str, asked: str) -> None:
        self._written = f'"model":"{model_id}"'.encode()
        self._asked = f'"model":"{asked}"'.encode()

    def body(self, reply: BaseModel) -> bytes:
        """A whole reply as JSON, without the engine's own metrics."""
        return self._rename(reply.model_dump_json(exclude={"metrics"}).encode())

    def frame(self, text: str) -> Frame:
        """One server-sent event of the engine."""
        return self._rename(text.encode())

    def _rename(self, data: bytes) -> bytes:
        # Since 0.12 vLLM calls it `reasoning`; clients of Qwen's public API read `reasoning_content`.
        return data.replace(self._written, self._asked, 1).replace(b'"reasoning":', b'"reasoning_content":')


def is_usage_frame(frame: Frame) -> bool:
    """Whether this is the stream's last frame, which carries the usage and no choices."""
    return b'"choices":[]' in frame and b'"usage":{' in frame


def read_usage_frame(frame: Frame, watch: Stopwatch) -> tuple[Usage, Frame]:
    """The usage in a frame for which ``is_usage_frame`` holds, and the frame without the engine's metrics."""
    event = json.loads(frame.removeprefix(b"data: "))
    timing = watch.timing(event.pop("metrics", None))
    text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    return replace(usage_of(event["usage"]), timing=timing), f"data: {text}\n\n".encode()


def is_error_frame(frame: Frame) -> bool:
    """Whether the engine reports an error, as the first frame or in mid-stream."""
    return frame.startswith(b'data: {"error"')


def error_of_frame(frame: Frame) -> dict[str, Any]:
    """Read the engine's error of a frame for which ``is_error_frame`` holds."""
    error: dict[str, Any] = json.loads(frame.removeprefix(b"data: "))["error"]
    return error


def usage_of(usage: Any) -> Usage:
    """Usage from the engine's usage object or its JSON form."""
    fields = usage if isinstance(usage, dict) else usage.model_dump() if usage is not None else {}
    return Usage(fields.get("prompt_tokens") or 0, fields.get("completion_tokens") or 0)


def answer(reply: Any, form: ReplyFormat, watch: Stopwatch) -> Answer:
    """The engine's whole reply as the client gets it."""
    metrics = getattr(reply, "metrics", None)
    timing = watch.timing(metrics.model_dump() if metrics is not None else None)
    return Answer(form.body(reply), replace(usage_of(reply.usage), timing=timing))


def rerank(scores: Any, body: dict[str, Any], model: str, watch: Stopwatch) -> Answer:
    """Sort scores into Jina's and Cohere's rerank form.

    Args:
        scores: The engine's score reply; ``data[i].score`` belongs to ``documents[i]``.
        body: The client's request: ``documents``, ``top_n``, ``return_documents``.
        model: The name as asked.
        watch: Running since the call came.
    """
    ranked = sorted(scores.data, key=lambda item: item.score, reverse=True)[: body.get("top_n") or None]
    results: list[dict[str, Any]] = [{"index": i.index, "relevance_score": i.score} for i in ranked]
    if body.get("return_documents", True):
        for result in results:
            result["document"] = {"text": body["documents"][result["index"]]}
    usage = replace(usage_of(scores.usage), timing=watch.timing(None))
    total = {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens}
    reply = {"id": scores.id, "model": model, "results": results, "usage": total}
    return Answer(json.dumps(reply, ensure_ascii=False).encode(), usage)
