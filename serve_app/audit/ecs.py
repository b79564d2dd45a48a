"""A line as a document of the Elastic Common Schema (ECS 8 and 9)."""

from __future__ import annotations

from typing import Any, Final

from serve_app.audit.chain import Kind

DATASET: Final = "qwen_serve.audit"

FIELDS: Final = {
    "timestamp": "@timestamp",
    "until": "event.end",
    "id": "event.id",
    "seq": "event.sequence",
    "request_id": "http.request.id",
    "http_status": "http.response.status_code",
    "bytes_in": "http.request.body.bytes",
    "bytes_out": "http.response.body.bytes",
    "route": "url.path",
    "client_address": "client.address",
    "user_id": "user.id",
    "tenant": "organization.id",
    "error_code": "error.code",
    "replica": "service.node.name",
    "task": "gen_ai.operation.name",
    "alias": "gen_ai.request.model",
    "model": "gen_ai.response.model",
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
}
"""Where ECS has a field for one of ours. All others are below ``qwen_serve.audit``, under their names."""

_EVENT_OUTCOMES: Final = {"success": "success", "aborted": "unknown"}
_NOT_COPIED: Final = ("hash", "prev", "signature")
"""Parts of the chain; they are in ``event.original``, from which the chain can be checked."""


def document(said: dict[str, Any], line: bytes) -> dict[str, Any]:
    """The document of a line.

    Args:
        said: The line's fields.
        line: The line itself; it goes along unchanged, as proof.
    """
    made: dict[str, Any] = {}
    for name, value in said.items():
        if name not in _NOT_COPIED:
            _put(made, FIELDS.get(name, f"{DATASET}.{name}"), value)
    event = made.setdefault("event", {})
    event |= {"kind": "event", "dataset": DATASET, "original": line.decode()}
    if said.get("kind") == Kind.RECORD:
        denied = said.get("outcome") in ("unauthorized", "forbidden", "blocked", "limited")
        event["category"] = ["api"]
        event["type"] = ["access", "denied" if denied else "allowed"]
        event["outcome"] = _EVENT_OUTCOMES.get(str(said.get("status")), "failure")
        # ECS tells durations in nanoseconds.
        event["duration"] = round(float(said.get("latency_ms", 0)) * 1_000_000)
    _put(made, "service.name", "qwen-serve")
    _put(made, "ecs.version", "8.17.0")
    return made


def bare_document(said: dict[str, Any], line: bytes, reason: str) -> dict[str, Any]:
    """What is kept of a line whose document Elasticsearch does not take: the line itself, and why."""
    return {
        "@timestamp": said["timestamp"],
        "event": {"kind": "pipeline_error", "id": said["id"], "dataset": DATASET, "original": line.decode()},
        "error": {"message": reason[:512]},
    }


def index_of(prefix: str, said: dict[str, Any]) -> str:
    """The index of a line: by its own month, so that one sent twice meets itself.

    Behind an alias that rolls over, or in a data stream, the second copy could go into another index,
    where its id is free.
    """
    return f"{prefix}-{str(said['timestamp'])[:7].replace('-', '.')}"


def _put(made: dict[str, Any], path: str, value: Any) -> None:
    *folders, name = path.split(".")
    for each in folders:
        made = made.setdefault(each, {})
    made[name] = value
