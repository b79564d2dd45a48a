"""What passes between the ingress and a model replica: a call, and what comes back.

Plain data, light to import on both sides, pickled by Ray. Nothing here speaks HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from deployments.timing import Timing


class Task(StrEnum):
    """What a model is asked to do."""

    CHAT = "chat"
    COMPLETION = "completion"
    EMBEDDING = "embedding"
    RERANK = "rerank"
    SCORE = "score"


class Reason(StrEnum):
    """Why a replica refuses a call."""

    INVALID = "invalid"
    UNKNOWN_FIELD = "unknown_field"
    CONTEXT_LENGTH = "context_length"
    OVERLOADED = "overloaded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Call:
    """A request to a model.

    Attributes:
        task: What to do.
        body: The client's JSON object; the engine validates it.
        model: The name as the client asked for it, which the answer repeats.
        request_id: The engine's request id derives from it; no two calls have the same.
    """

    task: Task
    body: dict[str, Any]
    model: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What a call used of its engine.

    Attributes:
        prompt_tokens: Read.
        completion_tokens: Generated.
        timing: How long it took; None where the call never reached the engine's end.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    timing: Timing | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: OpenAI's JSON body, ready to send."""

    body: bytes
    usage: Usage


@dataclass(frozen=True, slots=True)
class Refusal:
    """The engine's complaint in place of an answer.

    Attributes:
        reason: Which kind of complaint.
        message: For the client; one or two sentences.
        param: Path of the field at fault, made of known field names and indexes only.
    """

    reason: Reason
    message: str
    param: str | None = None


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """What the unary call of a stream returns, once its frames are on their way over the token channel.

    Attributes:
        frames: How many there were.
        usage: Tokens, as far as the engine has told.
        refusal: Why the stream ends early, or never begins.
    """

    frames: int
    usage: Usage
    refusal: Refusal | None = None


Frame = bytes
"""Server-sent events, ``data: {...}\\n\\n``, ready to send."""

DONE: Frame = b"data: [DONE]\n\n"
"""Closes every stream. The engine writes it too; the ingress alone sends it."""

Bill = Callable[[Usage], None]
"""Told exactly once what a call has used, however it ends; it may be two seconds after its end."""

StreamItem = Frame | Refusal
"""What a stream yields: frames, and the Refusal that ends it early."""
