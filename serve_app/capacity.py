"""How many requests to models one ingress replica has in hand at most."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.errors import Overloaded


class Capacity:
    """Counts requests from arrival to their last byte, and refuses those that are too many.

    Args:
        max_ongoing_requests: In hand at once.
    """

    def __init__(self, max_ongoing_requests: int) -> None:
        self._max_ongoing_requests = max_ongoing_requests
        self._ongoing = 0

    def guard(self, app: ASGIApp) -> ASGIApp:
        """An application that counts, as the middleware of a route."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if self._ongoing >= self._max_ongoing_requests:
                raise Overloaded(
                    "This server has as many requests in hand as it may; try again shortly.",
                    headers={"retry-after": "1"},
                )
            self._ongoing += 1
            try:
                await app(scope, receive, send)
            finally:
                self._ongoing -= 1

        return guarded
