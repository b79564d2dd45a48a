"""The routes that ask a model something."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deployments.call import Task
from serve_app.capacity import Capacity
from serve_app.exchange import Exchange

PATHS = {
    "/v1/chat/completions": Task.CHAT,
    "/v1/completions": Task.COMPLETION,
    "/v1/embeddings": Task.EMBEDDING,
    "/v1/rerank": Task.RERANK,
    "/v1/score": Task.SCORE,
}


def routes(exchange: Exchange, capacity: Capacity) -> list[Route]:
    """One POST route for each task; together they take what the capacity allows."""
    bounded = [Middleware(capacity.guard)]
    return [
        Route(path, _endpoint(exchange, task), methods=["POST"], middleware=bounded)
        for path, task in PATHS.items()
    ]


def _endpoint(exchange: Exchange, task: Task) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await exchange.run(request, task)

    return endpoint
