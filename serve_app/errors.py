"""The error tree, and the one place that renders it.

    ApiError
    ├── InvalidRequest            400  invalid_request_error
    │   ├── UnknownField               unknown_parameter
    │   ├── ContextLengthExceeded      context_length_exceeded
    │   ├── WrongModelKind             model_kind_mismatch
    │   ├── InvalidImage               invalid_image
    │   ├── ContentFiltered            content_filter
    │   └── RequestTooLarge            request_exceeds_limit
    ├── Unauthenticated           401  invalid_api_key
    ├── Forbidden                 403  permission_denied
    ├── NotFound                  404  not_found
    ├── ModelNotFound             404  model_not_found
    ├── RouteNotFound             404  unknown_url
    ├── MethodNotAllowed          405  method_not_allowed
    ├── Conflict                  409  conflict
    ├── BodyTooLarge              413  request_too_large
    ├── UnsupportedMediaType      415  unsupported_media_type
    ├── RateLimited               429  rate_limit_exceeded
    ├── Overloaded                503  overloaded
    ├── ModelUnavailable          503  model_unavailable
    │   └── ModelLoading               model_loading
    ├── RegistryUnavailable       503  registry_unavailable
    ├── Unrecordable              503  audit_unavailable
    ├── FilterSilent              503  content_filter_unavailable
    ├── StreamBroken              503  stream_broken
    ├── SlowReader                408  slow_reader
    ├── EngineTimeout             504  timeout
    └── InternalError             500  internal_error

Every class declares its status, OpenAI's ``type`` and its ``code``. ``param`` is the path of a field
that this service knows, never text that a client sent. Nothing else builds an error body.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar


class ApiError(Exception):
    """An answer to a client that is not the one it asked for.

    Args:
        message: One or two sentences: what is wrong, and what to do about it.
        param: Path of the field at fault, such as ``messages[0].content``.
        headers: Extra response headers.
    """

    status_code: ClassVar[int]
    type: ClassVar[str]
    code: ClassVar[str | None]

    def __init__(
        self, message: str, *, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """OpenAI's error body."""
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }

    def render(self) -> bytes:
        """The body as JSON."""
        return json.dumps(self.body(), ensure_ascii=False).encode()


class InvalidRequest(ApiError):
    """The request itself is wrong; sending it again will not help."""

    status_code = 400
    type = "invalid_request_error"
    code: ClassVar[str | None] = None


class UnknownField(InvalidRequest):
    """A field that neither OpenAI's API nor the engine knows."""

    code = "unknown_parameter"


class ContextLengthExceeded(InvalidRequest):
    """The prompt, or prompt and answer together, do not fit the model's context."""

    code = "context_length_exceeded"


class WrongModelKind(InvalidRequest):
    """The model exists but does not do what the route asks of it."""

    code = "model_kind_mismatch"


class InvalidImage(InvalidRequest):
    """An image that may not or cannot be read."""

    code = "invalid_image"


class ContentFiltered(InvalidRequest):
    """The prompt holds what the content filter blocks; the message says the category, never the match."""

    code = "content_filter"


class RequestTooLarge(InvalidRequest):
    """The request alone is more than a limit of the caller ever allows."""

    code = "request_exceeds_limit"


class Unauthenticated(ApiError):
    """No credential, or one that does not hold."""

    status_code = 401
    type = "invalid_request_error"
    code = "invalid_api_key"


class Forbidden(ApiError):
    """The caller is known and may not do this."""

    status_code = 403
    type = "invalid_request_error"
    code = "permission_denied"


class NotFound(ApiError):
    """What an administrator asks for does not exist."""

    status_code = 404
    type = "invalid_request_error"
    code = "not_found"


class ModelNotFound(ApiError):
    """No model of that name."""

    status_code = 404
    type = "invalid_request_error"
    code = "model_not_found"


class RouteNotFound(ApiError):
    """No route of that path."""

    status_code = 404
    type = "invalid_request_error"
    code = "unknown_url"


class MethodNotAllowed(ApiError):
    """The route exists, but not for this method."""

    status_code = 405
    type = "invalid_request_error"
    code = "method_not_allowed"


class Conflict(ApiError):
    """What an administrator asks for does not go with what is there."""

    status_code = 409
    type = "invalid_request_error"
    code = "conflict"


class BodyTooLarge(ApiError):
    """The body is over the configured limit."""

    status_code = 413
    type = "invalid_request_error"
    code = "request_too_large"


class UnsupportedMediaType(ApiError):
    """The body is not JSON by its content type."""

    status_code = 415
    type = "invalid_request_error"
    code = "unsupported_media_type"


class RateLimited(ApiError):
    """A limit of the caller is used up for now; worth another try after ``Retry-After``."""

    status_code = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class Overloaded(ApiError):
    """The queue is full; worth another try after ``Retry-After``."""

    status_code = 503
    type = "server_error"
    code = "overloaded"


class ModelUnavailable(ApiError):
    """The model is configured, but no replica of it answers."""

    status_code = 503
    type = "server_error"
    code = "model_unavailable"


class ModelLoading(ModelUnavailable):
    """The model is not loaded yet; the headers say when it may be."""

    code = "model_loading"


class RegistryUnavailable(ApiError):
    """Keys, limits or usage cannot be looked up now."""

    status_code = 503
    type = "server_error"
    code = "registry_unavailable"


class Unrecordable(ApiError):
    """The audit has no room for the record of a request, and without one nothing is served."""

    status_code = 503
    type = "server_error"
    code = "audit_unavailable"


class FilterSilent(ApiError):
    """A text could not be judged by the content filter in time, and nothing passes without."""

    status_code = 503
    type = "server_error"
    code = "content_filter_unavailable"

    def __init__(self) -> None:
        super().__init__(
            "The content filter does not answer; try again shortly.", headers={"retry-after": "5"}
        )


class StreamBroken(ApiError):
    """Frames of a stream were lost on their way; what the client has is not the whole answer."""

    status_code = 503
    type = "server_error"
    code = "stream_broken"


class SlowReader(ApiError):
    """The client reads its stream more slowly than the model writes, for too long."""

    status_code = 408
    type = "invalid_request_error"
    code = "slow_reader"


class EngineTimeout(ApiError):
    """The engine did not answer within the configured time."""

    status_code = 504
    type = "server_error"
    code = "timeout"


class InternalError(ApiError):
    """A fault of this service. Carries the request id and nothing else."""

    status_code = 500
    type = "server_error"
    code = "internal_error"
