"""``GET /health`` and ``GET /ready``: the only routes that answer about the service to anyone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from serve_app import observation

PATHS: Final = ("/health", "/ready")


def routes(
    models_up: Callable[[], Awaitable[dict[str, bool]]],
    callers_known: Callable[[], bool],
    audit_problem: Callable[[], str],
) -> list[Route]:
    """Liveness and readiness.

    Args:
        models_up: For each model needed at start, whether it is up.
        callers_known: Whether credentials can be checked.
        audit_problem: Why requests may go unrecorded; empty when all is well.
    """

    async def health(request: Request) -> Response:
        observation.of(request.scope).probe = True
        return JSONResponse({"status": "ok"})

    async def ready(request: Request) -> Response:
        observation.of(request.scope).probe = True
        models = await models_up()
        registry = callers_known()
        problem = audit_problem()
        up = registry and not problem and all(models.values())
        state: dict[str, Any] = {"ready": up, "registry": registry, "models": models}
        if problem:
            state["audit"] = problem
        return JSONResponse(state, status_code=200 if up else 503)

    endpoints = zip(PATHS, (health, ready), strict=True)
    return [Route(path, endpoint, methods=["GET"]) for path, endpoint in endpoints]
