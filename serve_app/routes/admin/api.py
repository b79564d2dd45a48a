"""All routes of ``/admin/v1``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

from starlette.routing import Route

from serve_app.fleet import Fleet
from serve_app.limits import LimitRule
from serve_app.registry import RegistryClient
from serve_app.routes.admin import fleet, keys, limits, revocations, usage
from serve_app.routes.admin.resource import Authorize, Resources
from serve_app.usage.prices import PriceConfig


def routes(  # noqa: PLR0913  (its collaborators)
    authorize: Authorize,
    registry: RegistryClient,
    *,
    roles: Collection[str],
    rules: Sequence[LimitRule],
    prices: Mapping[str, PriceConfig],
    models: Callable[[], Awaitable[list[dict[str, Any]]]],
    decided_by: Fleet,
    max_body_bytes: int,
) -> list[Route]:
    """The routes; none of them does anything before the caller is known for an administrator.

    Args:
        authorize: The caller of a request; raises ``ApiError`` unless it is an administrator.
        registry: Of keys, revocations, usage and limits.
        roles: Names of the configuration's roles.
        rules: The configuration's limits.
        prices: By model id.
        models: Each model and its state, as JSON can hold it.
        decided_by: Which models are loaded, and why.
        max_body_bytes: Largest request body.
    """
    resources = Resources(authorize, max_body_bytes)
    return [
        *keys.routes(resources, registry, roles),
        *revocations.routes(resources, registry),
        *usage.routes(resources, registry, prices),
        *limits.routes(resources, registry, rules),
        *fleet.routes(resources, models, decided_by),
    ]
