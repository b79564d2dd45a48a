"""What is known of one request, filled in as it goes, and told once at its end: log line and metrics."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from ray.exceptions import TaskCancelledError
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.call import Usage
from serve_app.auth.principal import Principal
from serve_app.errors import ApiError, InternalError, SlowReader
from serve_app.filtering import Verdict

logger = logging.getLogger("ray.serve")

SCOPE_KEY: Final = "qwen_serve.observation"
CLIENT_CLOSED: Final = 499
"""nginx's status for a client that went away before its answer; seen in logs and metrics only."""
CLIENT_GONE: Final = "client_gone"
"""Error code of a request whose client went away; seen in the log only."""

_CLIENTS_FAULT: Final = ("", CLIENT_GONE, SlowReader.code)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(slots=True)
class Observation:
    """One request.

    Attributes:
        request_id: From ``x-request-id``, or made; what the client is told.
        engine_request_id: The same with random digits behind it, since clients may send one id twice.
        method: Of HTTP.
        path: As asked; in the log only, never a metric label.
        task: What was asked of a model; empty for other routes.
        model: Id of the model; empty where none was found.
        alias: The name that the client asked for.
        principal: Who asked, once that is known.
        address: The client's, as far as it is known.
        headers: Of the response, whatever it is.
        ledger_away: Whether the limits could not be asked.
        stream: Whether the answer is a stream.
        probe: Whether a machine asks every few seconds; logged for debugging only.
        status: HTTP status; 0 until the response starts.
        error: Code of the error that ended the request, after the first byte too.
        usage: Tokens, once the engine has told.
        prompt_verdict: What the content filter found in the prompt; None where it did not get so far.
        answer_verdict: What it found in the answer.
        prompt_judgement: What the classifier says of the prompt, where there is one and it was asked.
        answer_judgement: What it says of the answer.
        filter_s: Spent in the content filter, seconds.
        prompt_filtered: Begin and end of the filter's work on the prompt, monotonic clock, and
        answer_filtered: on the answer; of a stream from the first to the last of its text.
        traceparent: The caller's trace, as W3C has it; empty without.
        prompt: Begin of the request's body, and
        answer: begin of the answer's as it was sent; None where the audit does not record them.
        bytes_in: Of the request's body, as far as it was read.
        bytes_out: Of the answer's body, as far as it was sent.
        started: Monotonic clock at arrival, seconds.
        first_byte: Monotonic clock at the first frame of a stream, seconds.
        ended: Monotonic clock at the last byte, seconds.
    """

    request_id: str
    engine_request_id: str
    method: str
    path: str
    task: str = ""
    model: str = ""
    alias: str = ""
    principal: Principal | None = None
    address: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    ledger_away: bool = False
    stream: bool = False
    probe: bool = False
    status: int = 0
    error: str = ""
    usage: Usage = field(default_factory=Usage)
    prompt_verdict: Verdict | None = None
    answer_verdict: Verdict | None = None
    prompt_judgement: Verdict | None = None
    answer_judgement: Verdict | None = None
    filter_s: float = 0.0
    prompt_filtered: tuple[float, float] | None = None
    answer_filtered: tuple[float, float] | None = None
    traceparent: str = ""
    prompt: bytearray | None = None
    answer: bytearray | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    started: float = field(default_factory=time.monotonic)
    first_byte: float | None = None
    ended: float | None = None
    _filter_before_first_byte_s: float | None = None
    _settle: Callable[[Usage], None] | None = None
    _when_billed: Callable[[], None] | None = None

    def mark_first_byte(self) -> None:
        """The first frame is here."""
        if self.first_byte is None:
            self.first_byte = time.monotonic()
            self._filter_before_first_byte_s = self.filter_s

    def expect_bill(self, settle: Callable[[Usage], None]) -> None:
        """The request goes to an engine now; whoever settles for it is told what it used."""
        self._settle = settle

    def bill(self, usage: Usage) -> None:
        """What the request has used of its engine."""
        self.usage = usage
        settle, self._settle = self._settle, None
        if settle is not None:
            settle(usage)
        if self._when_billed is not None:
            self._when_billed()

    def when_billed(self, then: Callable[[], None]) -> None:
        """Do something once the bill is there: at once, unless a client has left its engine at work."""
        if self._settle is not None:
            self._when_billed = then
        else:
            then()

    @property
    def latency_s(self) -> float:
        """From arrival to the last byte, or to now."""
        return (self.ended or time.monotonic()) - self.started

    @property
    def failed(self) -> bool:
        """Whether it failed by no fault of the client's, perhaps after a stream's first byte."""
        broken = self.stream and self.status == 200 and self.error not in _CLIENTS_FAULT
        return self.status >= 500 or broken

    @property
    def framework_s(self) -> float:
        """Time of neither engine nor filter: to the first token of a stream, of other answers to the end."""
        timing = self.usage.timing
        if self.first_byte is None:
            return max(0.0, self.latency_s - self.filter_s - (timing.total_s if timing else 0))
        before = self.first_byte - self.started - (self._filter_before_first_byte_s or 0)
        return max(0.0, before - (timing.before_first_token_s if timing else 0))

    def server_timing(self) -> str:
        """The time so far as the value of ``Server-Timing`` (W3C), milliseconds."""
        parts = {"ingress": self.framework_s}
        if timing := self.usage.timing:
            if timing.queue_s is not None:
                parts["queue"] = timing.queue_s
            parts["engine"] = timing.engine_s
        if self.filter_s:
            parts["filter"] = self.filter_s
        return ", ".join(f"{name};dur={seconds * 1e3:.1f}" for name, seconds in parts.items())


class Recorder(Protocol):
    """Takes the observation of a request that has ended."""

    def record(self, seen: Observation) -> None:
        """Count it."""


def of(scope: Scope) -> Observation:
    """The observation of the request that a scope belongs to."""
    seen: Observation = scope[SCOPE_KEY]
    return seen


class Observe:
    """The outermost middleware: renders what was raised, then logs and counts the request once.

    Args:
        app: The application.
        recorders: What counts it: audit, metrics, usage.
    """

    def __init__(self, app: ASGIApp, recorders: Sequence[Recorder]) -> None:
        self._app = app
        self._recorders = tuple(recorders)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = _begin(scope)

        async def observed_receive() -> Message:
            message = await receive()
            seen.bytes_in += len(message.get("body", b""))
            return message

        async def observed_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update(seen.headers)
                # A stream tells at its end, when it is known.
                if seen.first_byte is None:
                    headers["server-timing"] = seen.server_timing()
            await send(message)
            seen.bytes_out += len(message.get("body", b""))

        try:
            await self._app(scope, observed_receive, observed_send)
        except (ClientDisconnect, TaskCancelledError):
            # Serve cancels the request of a client that has gone; what waits on it sees Ray's exception.
            seen.error = CLIENT_GONE
        except asyncio.CancelledError:
            seen.error = CLIENT_GONE
            raise
        except ApiError as error:
            await self._answer(error, seen, scope, receive, observed_send)
        except Exception:
            logger.exception("Request failed")
            fault = InternalError(
                f"Internal error; the operator finds it by the request id {seen.request_id}."
            )
            await self._answer(fault, seen, scope, receive, observed_send)
        finally:
            seen.ended = time.monotonic()
            seen.status = seen.status or CLIENT_CLOSED
            seen.when_billed(partial(self._end, seen))

    async def _answer(
        self, error: ApiError, seen: Observation, scope: Scope, receive: Receive, send: Send
    ) -> None:
        seen.error = error.code or error.type
        if seen.status:  # The response has begun; a stream ends its own errors, so this is a last resort.
            return
        headers = {"content-type": "application/json", **error.headers}
        await Response(error.render(), error.status_code, headers)(scope, receive, send)

    def _end(self, seen: Observation) -> None:
        for recorder in self._recorders:
            recorder.record(seen)
        logger.log(logging.DEBUG if seen.probe else logging.INFO, "request", extra=_log_fields(seen))


def _begin(scope: Scope) -> Observation:
    given = _header(scope, b"x-request-id")
    # What is not of this form would reach the engine's ids and the log; it is replaced, not refused.
    request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    engine_request_id = f"{request_id}-{secrets.token_hex(8)}"
    seen = Observation(request_id, engine_request_id, scope["method"], scope["path"])
    seen.traceparent = _header(scope, b"traceparent")
    scope[SCOPE_KEY] = seen
    return seen


def _header(scope: Scope, name: bytes) -> str:
    return next((v for k, v in scope["headers"] if k == name), b"").decode("latin-1")


def _log_fields(seen: Observation) -> dict[str, object]:
    fields: dict[str, object] = {
        "http_method": seen.method,
        "http_path": seen.path,
        "http_status": seen.status,
        "latency_ms": round(seen.latency_s * 1000, 1),
        "engine_request_id": seen.engine_request_id,
    }
    if seen.task:
        fields |= {
            "task": seen.task,
            "model": seen.model,
            "alias": seen.alias,
            "user_id": seen.principal.subject if seen.principal else "",
            "stream": seen.stream,
            "input_tokens": seen.usage.prompt_tokens,
            "output_tokens": seen.usage.completion_tokens,
        }
    if seen.first_byte is not None:
        fields["ttft_ms"] = round((seen.first_byte - seen.started) * 1000, 1)
    if timing := seen.usage.timing:
        fields["framework_ms"] = round(seen.framework_s * 1000, 1)
        fields["engine_ms"] = round(timing.total_s * 1000, 1)
    if seen.filter_s:
        fields["filter_ms"] = round(seen.filter_s * 1000, 1)
    if seen.error:
        fields["error_code"] = seen.error
    return fields
