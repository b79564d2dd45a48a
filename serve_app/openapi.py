"""The OpenAPI description, made from what the ingress itself validates with."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serve_app import schema

_POST: dict[str, tuple[type[BaseModel], str]] = {
    "/v1/chat/completions": (schema.ChatRequest, "Answer a conversation; text, images and tools."),
    "/v1/completions": (schema.CompletionRequest, "Continue a text."),
    "/v1/embeddings": (schema.EmbeddingRequest, "Turn texts into vectors."),
    "/v1/rerank": (schema.RerankRequest, "Sort documents by their relevance to a query."),
    "/v1/score": (schema.ScoreRequest, "Score pairs of texts."),
}
_GET = {
    "/v1/models": ("List the models and their aliases.", True),
    "/v1/models/{model}": ("One model.", True),
    "/health": ("The process is alive.", False),
    "/ready": ("The models needed at start are up.", False),
}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}


def document() -> dict[str, Any]:
    """The whole document, OpenAPI 3.1."""
    refs, definitions = models_json_schema(
        [(model, "validation") for model, _ in _POST.values()], ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, Any] = {}
    for path, (model, summary) in _POST.items():
        body = {"required": True, "content": {"application/json": {"schema": refs[model, "validation"]}}}
        paths[path] = {"post": {"summary": summary, "requestBody": body, "responses": _responses(True)}}
    for path, (summary, closed) in _GET.items():
        operation: dict[str, Any] = {"summary": summary, "responses": _responses(closed)}
        if "{model}" in path:
            parameter = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
            operation["parameters"] = [parameter]
        if not closed:
            operation["security"] = []
        paths[path] = {"get": operation}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "qwen-serve",
            "version": version("qwen-serve"),
            "description": (
                "An OpenAI-compatible API for Qwen models on your own hardware. Fields that are not listed "
                "go to vLLM, which validates them: top_k, min_p, repetition_penalty, structured_outputs, "
                "chat_template_kwargs, ..."
            ),
        },
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": {**definitions.get("$defs", {}), "Error": _ERROR},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _responses(closed: bool) -> dict[str, Any]:
    error = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
    responses: dict[str, Any] = {"200": {"description": "As in OpenAI's API."}}
    if closed:
        responses["401"] = {"description": "No valid API key.", **error}
        responses["4XX"] = {"description": "The request is at fault; the message says where.", **error}
        responses["5XX"] = {"description": "This service is at fault, or overloaded.", **error}
    return responses
