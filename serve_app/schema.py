"""What the ingress reads of a request; the engine validates the rest.

Fields that are not named here pass through to the engine, which knows more of them than any list could
(its sampling parameters grow with every version), and refuses those that it does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import pydantic_core
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, ValidationError

from deployments.validation import first_fault
from serve_app.errors import InvalidRequest

Role = Literal["system", "developer", "user", "assistant", "tool"]


class _Request(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    model: Annotated[str, Field(min_length=1, max_length=256)] = Field(
        ..., description="Id of a model, or an alias; GET /v1/models lists them."
    )


class Function(BaseModel):
    """The function that a tool call names."""

    model_config = ConfigDict(extra="allow")

    name: str
    arguments: str = Field("{}", description="JSON as text.")


class ToolCall(BaseModel):
    """A call that the assistant made earlier in the conversation."""

    model_config = ConfigDict(extra="allow")

    id: str | None = None
    type: Literal["function"] = "function"
    function: Function


class ContentPart(BaseModel):
    """A part of a message: text, or an image as a ``data:`` or https URL."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(..., description="text or image_url")


class Message(BaseModel):
    """One message of the conversation."""

    model_config = ConfigDict(extra="allow")

    role: Role
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[ToolCall] | None = None


class StreamOptions(BaseModel):
    """What a stream carries besides the text."""

    model_config = ConfigDict(extra="allow")

    include_usage: StrictBool = Field(False, description="End the stream with a chunk that has the usage.")


class _Generation(_Request):
    stream: StrictBool | None = Field(None, description="Answer as server-sent events.")
    stream_options: StreamOptions | None = None
    n: Annotated[StrictInt, Field(ge=1)] | None = Field(None, description="Answers to one prompt.")
    max_tokens: Annotated[StrictInt, Field(ge=1)] | None = Field(
        None, description="Length of the answer at most, tokens."
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        None, description="0: always the likeliest."
    )
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: StrictInt | None = Field(None, description="The same seed gives the same answer.")
    stop: str | list[str] | None = Field(None, description="Texts at which the answer ends.")


class ChatRequest(_Generation):
    """``POST /v1/chat/completions``."""

    messages: Annotated[list[Message], Field(min_length=1)] = Field(
        ..., description="The conversation so far."
    )
    max_completion_tokens: Annotated[StrictInt, Field(ge=1)] | None = None
    logprobs: StrictBool | None = None
    tools: list[dict[str, Any]] | None = Field(None, description="Functions that the model may call.")
    tool_choice: str | dict[str, Any] | None = Field(
        None, description="auto, none, required, or one function."
    )
    response_format: dict[str, Any] | None = Field(None, description="text, json_object or json_schema.")


class CompletionRequest(_Generation):
    """``POST /v1/completions``."""

    # 0 with `echo` scores a prompt without continuing it.
    max_tokens: Annotated[StrictInt, Field(ge=0)] | None = Field(
        None, description="Length of the continuation at most, tokens."
    )
    prompt: str | list[str] | list[int] | list[list[int]] = Field(..., description="Text, or token ids.")


class EmbeddingRequest(_Request):
    """``POST /v1/embeddings``."""

    input: str | list[str] | list[StrictInt] | list[list[StrictInt]] = Field(
        ..., min_length=1, description="Texts, or token ids of the model's own tokenizer."
    )
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[StrictInt, Field(ge=1)] | None = None


class RerankRequest(_Request):
    """``POST /v1/rerank``, as Jina and Cohere have it."""

    query: Annotated[str, Field(min_length=1)]
    documents: Annotated[list[str], Field(min_length=1)]
    top_n: Annotated[StrictInt, Field(ge=1)] | None = Field(
        None, description="So many of the best; default: all."
    )
    return_documents: StrictBool = Field(True, description="Repeat the documents in the answer.")


class ScoreRequest(_Request):
    """``POST /v1/score``: one text against one or many, or pair by pair."""

    text_1: str | Annotated[list[str], Field(min_length=1)]
    text_2: str | Annotated[list[str], Field(min_length=1)]


AnyRequest: TypeAlias = ChatRequest | CompletionRequest | EmbeddingRequest | RerankRequest | ScoreRequest
R = TypeVar("R", bound=BaseModel)


def most_output_tokens(asked: AnyRequest, context_tokens: int) -> int:
    """How many tokens the answers to a request have at most.

    Args:
        asked: The request.
        context_tokens: What one answer has at most where the request does not say.
    """
    match asked:
        case ChatRequest():
            each = asked.max_completion_tokens or asked.max_tokens
        case CompletionRequest():
            each = asked.max_tokens
        case _:
            return 0
    return (context_tokens if each is None else min(each, context_tokens)) * choices(asked)


def choices(asked: AnyRequest) -> int:
    """How many answers a request gets, each with an index of its own."""
    match asked:
        case ChatRequest():
            return asked.n or 1
        case CompletionRequest():
            return (asked.n or 1) * prompts(asked)
        case _:
            return 0


def prompts(asked: AnyRequest) -> int:
    """How many prompts the engine reads for a request."""
    match asked:
        case (
            CompletionRequest(prompt=[str() | list(), *_] as texts)
            | EmbeddingRequest(input=[str() | list(), *_] as texts)
        ):
            return len(texts)
        case RerankRequest():
            return len(asked.documents)
        case ScoreRequest():
            return max(len(text) if isinstance(text, list) else 1 for text in (asked.text_1, asked.text_2))
        case _:
            return 1


def decode(body: bytes) -> dict[str, Any]:
    """A request body as a JSON object.

    The parser bounds nesting and the digits of a number, so that no body can exhaust the stack.

    Raises:
        InvalidRequest: Not JSON, or not an object.
    """
    try:
        value = pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError as error:
        where = str(error).partition(" at line ")
        raise InvalidRequest(f"The body is not valid JSON: {where[0][:120]}{where[1]}{where[2]}.") from error
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return value


def validate(schema: type[R], body: dict[str, Any]) -> R:
    """Check what the ingress reads of a body.

    Raises:
        InvalidRequest: Names the first field at fault.
    """
    try:
        return schema.model_validate(body)
    except ValidationError as error:
        first = first_fault(error)
        path = _path(first["loc"])
        raise InvalidRequest(f"{path or 'body'}: {first['msg']}.", param=path) from error


def _path(location: Sequence[int | str]) -> str | None:
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.isidentifier() and part not in _BRANCHES:
            path += f".{part}" if path else part
    return path or None


_BRANCHES = frozenset({"str", "int", "dict", "list"})
"""Names that pydantic gives the branches of a union."""
