"""``/admin/v1/models``: every model and its state."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serve_app.auth.principal import Principal
from serve_app.routes.admin.resource import Resources, listing


def routes(resources: Resources, models: Callable[[], Awaitable[list[dict[str, Any]]]]) -> list[Route]:
    """The models.

    Args:
        resources: Makes routes.
        models: Each model and its state, as JSON can hold it.
    """

    async def list_models(_: Request, __: Principal) -> Response:
        return listing(await models())

    return [resources.route("/models", GET=list_models)]
