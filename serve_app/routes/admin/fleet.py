"""``/admin/v1/models`` and ``/admin/v1/fleet``: each model's state, the GPUs, and why it is so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from serve_app.auth.principal import Principal
from serve_app.fleet import Fleet
from serve_app.routes.admin.resource import Resources, listing


def routes(
    resources: Resources, models: Callable[[], Awaitable[list[dict[str, Any]]]], fleet: Fleet
) -> list[Route]:
    """The models and the fleet.

    Args:
        resources: Makes routes.
        models: Each model and its state, as JSON can hold it.
        fleet: Tells why.
    """

    async def list_models(_: Request, __: Principal) -> Response:
        return listing(await models())

    async def show_fleet(_: Request, __: Principal) -> Response:
        gpus = {kind: {"in_use": used, "total": total} for kind, (used, total) in fleet.gpus.items()}
        decisions = await fleet.reasons()
        return JSONResponse(
            {"object": "fleet", "gpus": gpus, "models": await models(), "decisions": decisions}
        )

    return [resources.route("/models", GET=list_models), resources.route("/fleet", GET=show_fleet)]
