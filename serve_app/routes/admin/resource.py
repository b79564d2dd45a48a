"""What every route of ``/admin/v1`` has in common: the caller comes first, then what it sends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, StringConstraints
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from serve_app import schema
from serve_app.auth.principal import MAX_NAME_CHARS, Principal
from serve_app.body import read_json
from serve_app.errors import InvalidRequest, UnknownField

PREFIX: Final = "/admin/v1"

Name = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=MAX_NAME_CHARS)]
"""Of a user, a tenant or a key; control characters break some databases and terminals."""

Authorize = Callable[[Request], Awaitable[Principal]]
Handler = Callable[[Request, Principal], Awaitable[Response]]
S = TypeVar("S", bound=BaseModel)


class Resources:
    """Makes routes of handlers.

    Args:
        authorize: The caller of a request; raises ``ApiError`` unless it is an administrator.
        max_body_bytes: Largest request body.
    """

    def __init__(self, authorize: Authorize, max_body_bytes: int) -> None:
        self._authorize = authorize
        self._max_body_bytes = max_body_bytes

    def route(self, path: str, **handlers: Handler) -> Route:
        """One path, with a handler for each method that it takes.

        All methods are one route, so that a wrong one is answered with all that are right.
        """

        async def endpoint(request: Request) -> Response:
            principal = await self._authorize(request)
            method = "GET" if request.method == "HEAD" else request.method
            response = await handlers[method](request, principal)
            # An answer may hold a secret, and is old a moment later.
            response.headers["cache-control"] = "no-store"
            return response

        return Route(PREFIX + path, endpoint, methods=list(handlers))

    async def body(self, request: Request, form: type[S]) -> S:
        """The body of a request; an empty one is an empty object.

        Raises:
            InvalidRequest: Names the first field at fault.
            UnsupportedMediaType: It is not JSON.
            BodyTooLarge: It is too large.
        """
        body = await read_json(request, self._max_body_bytes)
        return schema.validate(form, schema.decode(body or b"{}"))


def query(request: Request, form: type[S]) -> S:
    """The query of a request's URL; a parameter without a value counts as not given.

    Raises:
        InvalidRequest: Names the first parameter at fault.
    """
    given = [(name, value) for name, value in request.query_params.multi_items() if value]
    values = dict(given)
    if not values.keys() <= form.model_fields.keys():
        names = ", ".join(form.model_fields)
        raise UnknownField(f"The URL has an unknown parameter; this route takes {names}.")
    if len(values) < len(given):
        raise InvalidRequest("The URL has a parameter twice; give each once.")
    return schema.validate(form, values)


def listing(data: list[dict[str, Any]]) -> Response:
    """A list in OpenAI's form."""
    return JSONResponse({"object": "list", "data": data})
