"""``GET /health`` and ``GET /ready``: the only routes that answer about the service to anyone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from serve_app import observation


def routes(
    models_up: Callable[[], Awaitable[dict[str, bool]]], callers_known: Callable[[], bool]
) -> list[Route]:
    """Liveness and readiness.

    Args:
        models_up: For each model needed at start, whether it is up.
        callers_known: Whether credentials can be checked.
    """

    async def health(request: Request) -> Response:
        observation.of(request.scope).probe = True
        return JSONResponse({"status": "ok"})

    async def ready(request: Request) -> Response:
        observation.of(request.scope).probe = True
        models = await models_up()
        registry = callers_known()
        up = registry and all(models.values())
        state = {"ready": up, "registry": registry, "models": models}
        return JSONResponse(state, status_code=200 if up else 503)

    return [Route("/health", health, methods=["GET"]), Route("/ready", ready, methods=["GET"])]
