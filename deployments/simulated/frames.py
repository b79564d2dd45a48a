"""Server-sent events in the form that vLLM writes them, at the price of joining three strings.

What surrounds a token is written once by vLLM's own response models and then cut open, so that a frame
has vLLM's keys, their order and their separators, of whatever version is installed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from vllm.entrypoints.serve.engine.protocol import UsageInfo
from vllm.entrypoints.serve.exception_handling.error_response import create_error_response

from deployments.simulated import chunk
from deployments.simulated.chunk import FinishReason

DONE = "data: [DONE]\n\n"

_NO_ID = '{"id":""'
_NOT_CREATED = '"created":0'


@dataclass(frozen=True, slots=True)
class Ending:
    """How a stream ends.

    Attributes:
        finish_reason: Why its answers end.
        include_usage: Whether a frame of usage follows them; it then carries the fingerprint.
    """

    finish_reason: FinishReason
    include_usage: bool


@dataclass(frozen=True, slots=True)
class ChoiceFrames:
    """The parts of the frames of one choice of one stream.

    Attributes:
        head: What comes before the text of a token, which is escaped for JSON and has no quotes.
        tail: What comes after it.
        last_tail: What comes after the last one, with the reason for the end.
        finish_reason: That reason.
    """

    head: str
    tail: str
    last_tail: str
    finish_reason: FinishReason


@dataclass(frozen=True, slots=True)
class _Template:
    """The frames of a choice without what differs from stream to stream: what comes after the id."""

    role: str | None
    head: str
    tail: str
    last_tail: str


class StreamForm:
    """The frames of the chats, or of the completions, of one model.

    Args:
        model_id: The name in each frame.
        write_role: Writes the frame that opens a choice as JSON; none: choices have no such frame.
        write_token: Writes the frame of a token as JSON, with the reason for the end if it is the last, and
            with the fingerprint if it is the last of the stream.
        write_usage: Writes the last frame as JSON.
    """

    def __init__(
        self,
        model_id: str,
        write_role: Callable[[str, int], str] | None,
        write_token: Callable[[str, int, FinishReason | None, bool], str],
        write_usage: Callable[[str, str, int, UsageInfo], str],
    ) -> None:
        self.model_id = model_id
        self.write_usage = write_usage
        self._write_role = write_role
        self._write_token = write_token
        self._templates: dict[tuple[int, Ending], _Template] = {}

    def begin(self, stream_id: str, created: int, ending: Ending) -> StreamFrames:
        """The frames of one stream, which began at ``created``, in seconds since 1970."""
        return StreamFrames(self, stream_id, created, ending)

    def template(self, index: int, ending: Ending) -> _Template:
        """The frames of a choice; written once."""
        found = self._templates.get((index, ending))
        if found is None:
            role = self._write_role(self.model_id, index) if self._write_role else None
            head, tail = self._write_token(self.model_id, index, None, False).split(chunk.TEXT)
            last = self._write_token(self.model_id, index, ending.finish_reason, not ending.include_usage)
            _, last_tail = last.split(chunk.TEXT)
            found = _Template(
                role and role.removeprefix(_NO_ID),
                head.removeprefix(_NO_ID),
                f"{tail}\n\n",
                f"{last_tail}\n\n",
            )
            self._templates[index, ending] = found
        return found


class StreamFrames:
    """The frames of one stream, except the text of its tokens.

    Args:
        form: Of the model.
        stream_id: The id in each frame.
        created: When it began, in seconds since 1970.
        ending: How it ends.
    """

    def __init__(self, form: StreamForm, stream_id: str, created: int, ending: Ending) -> None:
        self._form = form
        self._stream_id = stream_id
        self._created = created
        self._ending = ending

    def opening(self, choices: int) -> list[str]:
        """The frames that come before the first token: a chat's role, for each choice."""
        roles = [self._form.template(index, self._ending).role for index in range(choices)]
        return [f"{self._fill(role)}\n\n" for role in roles if role]

    def choice(self, index: int) -> ChoiceFrames:
        """The parts of a choice's frames."""
        template = self._form.template(index, self._ending)
        return ChoiceFrames(
            self._fill(template.head), template.tail, template.last_tail, self._ending.finish_reason
        )

    def usage(self, used: UsageInfo) -> str:
        """The frame that carries the usage and no choice."""
        written = self._form.write_usage(self._form.model_id, self._stream_id, self._created, used)
        return f"data: {written}\n\n"

    def _fill(self, part: str) -> str:
        filled = part.replace(_NOT_CREATED, f'"created":{self._created}', 1)
        return f'data: {{"id":"{self._stream_id}"{filled}'


def chat(model_id: str) -> StreamForm:
    """Chunks of ``POST /v1/chat/completions``."""
    return StreamForm(model_id, chunk.chat_role, chunk.chat_token, chunk.chat_usage)


def completion(model_id: str) -> StreamForm:
    """Chunks of ``POST /v1/completions``."""
    return StreamForm(model_id, None, chunk.completion_token, chunk.completion_usage)


def error(failure: Exception) -> str:
    """The frame with which vLLM reports an error within a stream."""
    return f"data: {json.dumps(create_error_response(failure).model_dump())}\n\n"


def escaped(text: str) -> str:
    """A text as it stands within quotes in the JSON that pydantic writes."""
    return json.dumps(text, ensure_ascii=False)[1:-1]
