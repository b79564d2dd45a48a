"""What is recorded of one request, and what may stand between two records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

VERSION: Final = 1
"""Of the fields below; grows when the meaning of one changes, not when one is added."""
MAX_TEXT_CHARS: Final = 512
"""Of any field that a client has a hand in; the rest is cut off."""


class Outcome(StrEnum):
    """How a request ended."""

    DONE = "done"
    BLOCKED = "blocked"
    LIMITED = "limited"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    INVALID = "invalid"
    DISCONNECTED = "disconnected"
    TIMEOUT = "timeout"
    FAILED = "failed"
    UNAVAILABLE = "unavailable"

    @property
    def status(self) -> str:
        """The same in five words: success, blocked, refused, aborted (by its client) and failed."""
        return _STATUS.get(self, "refused")


_STATUS: Final = {
    Outcome.DONE: "success",
    Outcome.BLOCKED: "blocked",
    Outcome.DISCONNECTED: "aborted",
    Outcome.TIMEOUT: "failed",
    Outcome.FAILED: "failed",
    Outcome.UNAVAILABLE: "failed",
}


@dataclass(frozen=True, slots=True)
class UsageMark:
    """Between two records: what those before it used, back to the last mark, is one flush of usage.

    Attributes:
        timestamp: When it was made, seconds since 1970.
        flush_id: Under which the usage table counts it once.
    """

    timestamp: float
    flush_id: str

    def to_fields(self) -> dict[str, object]:
        """The fields of its line."""
        return {"timestamp": iso(self.timestamp), "flush": self.flush_id}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One request. What is empty, zero where zero says nothing, or None is left out of the line.

    Attributes:
        timestamp: When it arrived, seconds since 1970.
        request_id: As the client was told.
        route: The path that was asked.
        outcome: How it ended; ``status`` in the line is made of it.
        http_status: As sent; 499 where the client had gone.
        latency_ms: From arrival to the last byte.
        user_id: Who asked; empty where that is not known.
        tenant: The caller's tenant.
        key_id: The API key that was shown.
        task: What was asked of a model.
        model: Id of the model.
        alias: The name that the client asked for.
        input_tokens: Read by the engine.
        output_tokens: Made by the engine.
        stream: Whether the answer was a stream.
        ttft_ms: From arrival to the first token of a stream.
        queue_ms: In the engine's queue.
        error_code: Code of the error that ended it.
        replica: The ingress replica that served it.
        client_address: IP address of the client.
        bytes_in: Size of the request's body.
        bytes_out: Size of the answer's body, as far as it was sent.
        ledger_away: It went ahead without the ledger of limits.
        verdicts: What the filters found, each as they tell it, with its ``direction``.
        count: Requests that this record stands for; more than 1 for unauthorized ones only.
        until: When the last of these came, seconds since 1970.
        prompt: The request's body; written only where the policy says so, and then encrypted.
        answer: The answer's body as it was sent; likewise.
        content_left_out: Prompt and answer were to be recorded, but too many waited for the disk.
    """

    timestamp: float
    request_id: str
    route: str
    outcome: Outcome
    http_status: int
    latency_ms: float
    user_id: str = ""
    tenant: str = ""
    key_id: str = ""
    task: str = ""
    model: str = ""
    alias: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    stream: bool = False
    ttft_ms: float | None = None
    queue_ms: float | None = None
    error_code: str = ""
    replica: str = ""
    client_address: str = ""
    bytes_in: int | None = None
    bytes_out: int | None = None
    ledger_away: bool = False
    verdicts: tuple[Mapping[str, object], ...] = ()
    count: int = 1
    until: float | None = None
    prompt: bytes | None = None
    answer: bytes | None = None
    content_left_out: bool = False

    @property
    def content_bytes(self) -> int:
        """Length of prompt and answer."""
        return len(self.prompt or b"") + len(self.answer or b"")

    def to_fields(self) -> dict[str, object]:
        """The fields of its line, but for prompt and answer."""
        line: dict[str, object] = {
            "timestamp": iso(self.timestamp),
            "version": VERSION,
            "request_id": self.request_id[:MAX_TEXT_CHARS],
            "user_id": self.user_id[:MAX_TEXT_CHARS],
            "model": self.model[:MAX_TEXT_CHARS],
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "latency_ms": round(self.latency_ms, 3),
            "status": self.outcome.status,
            "outcome": self.outcome.value,
            "http_status": self.http_status,
        }
        for name in _TEXTS:
            if text := getattr(self, name):
                line[name] = text[:MAX_TEXT_CHARS]
        for name in _NUMBERS:
            if (number := getattr(self, name)) is not None:
                line[name] = round(number, 3)
        for name in _FLAGS:
            if getattr(self, name):
                line[name] = True
        if self.verdicts:
            line["verdicts"] = list(self.verdicts)
        if self.count > 1:
            line["count"] = self.count
        if self.until is not None:
            line["until"] = iso(self.until)
        return line


_TEXTS: Final = ("tenant", "key_id", "route", "task", "alias", "error_code", "replica", "client_address")
_NUMBERS: Final = ("ttft_ms", "queue_ms", "bytes_in", "bytes_out")
_FLAGS: Final = ("stream", "ledger_away", "content_left_out")


def iso(moment: float) -> str:
    """Seconds since 1970 as a line tells them: UTC, to the millisecond."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
