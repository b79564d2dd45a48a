"""From a client's JSON object to the engine's request, or to a refusal that names the field.

Imports vLLM's request models, so it loads inside the replica only. vLLM itself ignores fields that it
does not know, which turns a typing error such as ``max_token`` into an answer of the wrong length; here
they are refused.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError
from ray.llm._internal.serve.core.configs.openai_api_models import (
    ChatCompletionRequest,
    CompletionRequest,
    EmbeddingCompletionRequest,
    ScoreRequest,
)

from deployments.call import Call, Reason, Refusal, Task
from deployments.validation import first_fault

EngineRequest: TypeAlias = (
    ChatCompletionRequest | CompletionRequest | EmbeddingCompletionRequest | ScoreRequest
)

_MODELS: Mapping[Task, type[BaseModel]] = {
    Task.CHAT: ChatCompletionRequest,
    Task.COMPLETION: CompletionRequest,
    Task.EMBEDDING: EmbeddingCompletionRequest,
    Task.SCORE: ScoreRequest,
    Task.RERANK: ScoreRequest,
}

_WITHOUT_EFFECT = frozenset(
    {
        "metadata",
        "modalities",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    }
)
"""OpenAI's fields that change nothing about the answer of a private model; clients may send them."""

_OPERATOR_ONLY = frozenset(
    {
        "chat_template",
        "ec_transfer_params",
        "kv_transfer_params",
        "media_io_kwargs",
        "mm_processor_kwargs",
        "request_id",
        "vllm_xargs",
    }
)
"""Fields of the engine that reach into the machine rather than into the answer."""

_MESSAGE_LIMIT = 500
_TYPE_ERRORS = (TypeError, AttributeError, KeyError)


class Refused(Exception):
    """Raised where a call cannot be turned into an engine request.

    Attributes:
        refusal: What the client is told.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def parse(call: Call, model_id: str) -> EngineRequest:
    """Turn a call into the engine's request.

    Args:
        call: What the ingress sent.
        model_id: The name under which the engine knows its model.

    Raises:
        Refused: The body is not a valid request.
    """
    body = {key: value for key, value in call.body.items() if key not in _WITHOUT_EFFECT}
    if call.task is Task.RERANK:
        body = _as_score(body)
    model = _MODELS[call.task]
    _refuse_unknown(body, model)
    try:
        request = model.model_validate({**body, "model": model_id})
    except ValidationError as error:
        raise Refused(_explain(error, model)) from error
    except Exception as error:
        # Validators of vLLM that run before pydantic's own raise what they like (its VLLMValidationError,
        # a TypeError, an AttributeError on a field of the wrong type): all of them are about the body.
        text = "A field has a value of the wrong type." if isinstance(error, _TYPE_ERRORS) else str(error)
        raise Refused(complaint(Reason.INVALID, text, _parameter(error), model)) from error
    if "request_id" in model.model_fields:
        request.request_id = call.request_id  # type: ignore[attr-defined]
    return request


def _as_score(body: dict[str, Any]) -> dict[str, Any]:
    """A rerank is a score of one query against many documents; the reply is sorted afterwards."""
    rest = {k: v for k, v in body.items() if k not in ("query", "documents", "top_n", "return_documents")}
    return {**rest, "text_1": body["query"], "text_2": body["documents"]}


def _refuse_unknown(body: Mapping[str, Any], model: type[BaseModel]) -> None:
    known = set(model.model_fields) | {field.alias for field in model.model_fields.values() if field.alias}
    for name in body:
        if name in _OPERATOR_ONLY:
            raise Refused(
                Refusal(Reason.INVALID, f"{name} is not taken from clients; leave it out.", param=name)
            )
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
            shown = name if re.fullmatch(r"\w{1,64}", name) else "with that name"
            hint = f"; did you mean {near[0]}?" if near else "; leave it out."
            raise Refused(Refusal(Reason.UNKNOWN_FIELD, f"There is no field {shown}{hint}"))


def _explain(error: ValidationError, model: type[BaseModel]) -> Refusal:
    first = first_fault(error)
    param = _path(first["loc"], model)
    cause = first.get("ctx", {}).get("error")
    message = str(cause) if isinstance(cause, Exception) else first["msg"]
    return complaint(Reason.INVALID, message, param or _parameter(cause), model)


def _path(location: Iterable[int | str], model: type[BaseModel]) -> str | None:
    """Pydantic's location as a field path.

    Names of union branches are left out, and so is everything below a mapping with keys of the client's.
    """
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not path and part in model.model_fields:
            path = part
        elif path and part in _NESTED_FIELDS:
            path += f".{part}"
    return path or None


_NESTED_FIELDS = frozenset(
    {
        "arguments",
        "content",
        "description",
        "function",
        "image_url",
        "include_usage",
        "json_schema",
        "name",
        "parameters",
        "role",
        "schema",
        "strict",
        "text",
        "tool_call_id",
        "tool_calls",
        "type",
        "url",
    }
)


def _parameter(error: object) -> str | None:
    parameter = getattr(error, "parameter", None)
    return parameter if isinstance(parameter, str) else None


def complaint(reason: Reason, message: str, param: str | None, model: type[BaseModel] | None) -> Refusal:
    """The engine's complaint, fit for a client.

    vLLM appends ``(parameter=..., value=...)``, which repeats the client's input; that is cut off. A
    ``param`` survives only where it begins with a field that the request model knows.
    """
    text = re.sub(r"\s*\(parameter=.*\)\s*$", "", message, flags=re.DOTALL)
    text = text.removeprefix("Value error, ").strip() or "The request is not valid."
    if "maximum context length" in text:
        reason = Reason.CONTEXT_LENGTH
    root = re.split(r"[.\[]", param, maxsplit=1)[0] if param else ""
    known = model is not None and root in model.model_fields
    return Refusal(reason, text[:_MESSAGE_LIMIT], param if known else None)
