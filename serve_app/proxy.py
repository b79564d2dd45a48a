"""What Ray's HTTP server does before the ingress sees a request: it forgets headers that steer Serve itself.

Serve takes orders from any client: a header cuts the request's timeout short, another one keeps the engine
at work after the client has gone, and one that is not UTF-8 ends in a 500 of Serve's own. Ray calls
``middlewares`` where ``RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`` names it, as `make serve` sets it: in its
Python proxy, and with HAProxy in each ingress replica, before it reads the headers.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.errors import ModelUnavailable

IMPORT_PATH: Final = "serve_app.proxy:middlewares"
IMPORT_PATH_VARIABLE: Final = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"

_STEERING: Final = frozenset(
    {b"x_request_timeout_seconds", b"x_request_disconnect_disabled", b"serve_multiplexed_model_id"}
)
_PLAIN_ONLY: Final = frozenset({b"x_request_id", b"x_session_id"})
_PLAIN: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


def no_replica() -> bytes:
    """The body of the 503 that a proxy sends where no replica of the ingress answers."""
    return ModelUnavailable("The service is starting or has lost this request; send it again.").render()


def middlewares() -> list[Middleware]:
    """The middlewares of Ray's HTTP proxy, or of its HTTP server in the ingress replicas."""
    return [Middleware(CleanHeaders)]


class CleanHeaders:
    """Drops headers by which a client could steer or break Serve.

    Args:
        app: The proxy.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if "headers" in scope:
            scope = {**scope, "headers": [header for header in scope["headers"] if _passes(*header)]}
        await self._app(scope, receive, send)


def _passes(name: bytes, value: bytes) -> bool:
    # Serve takes `-` and `_` for the same.
    folded = name.lower().replace(b"-", b"_")
    if folded in _PLAIN_ONLY:
        return _PLAIN.fullmatch(value) is not None
    return folded not in _STEERING
