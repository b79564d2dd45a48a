"""The routes of ``/admin/v1`` around a real registry on SQLite, with real tokens and roles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from serve_app.auth.config import RoleConfig
from serve_app.auth.principal import Principal
from serve_app.auth.roles import Roles
from serve_app.auth.tokens import Tokens
from serve_app.errors import ApiError, Forbidden
from serve_app.limits import LimitRule, LimitsConfig, Scope
from serve_app.registry import Registry, RegistryClient
from serve_app.routes import admin
from serve_app.store import StoreConfig
from serve_app.usage.prices import PriceConfig
from tests.unit.serve_app.fleet import SetBoard, fleet_of

RULES = (
    LimitRule(scope=Scope.USER, requests_per_minute=60, tokens_per_day=100_000),
    LimitRule(scope=Scope.TENANT, name="research", model="chat", role="user", tokens_per_minute=5000),
)
PRICES = {
    "chat": PriceConfig.model_validate(
        {
            "input_cny_per_million_tokens": 0.3,
            "output_cny_per_million_tokens": "0.6",
            "public_input_cny_per_million_tokens": 2.4,
            "public_output_cny_per_million_tokens": 9.6,
        }
    ),
    "embed": PriceConfig.model_validate(
        {"input_cny_per_million_tokens": "0.1", "output_cny_per_million_tokens": 0}
    ),
}
MODELS = [{"id": "chat", "state": "up", "replicas": 1}]
_ROLES = Roles({"user": RoleConfig(models=("*",)), "admin": RoleConfig(models=("*",), admin=True)})


def new_registry(folder: Path) -> Registry:
    """A registry whose database is in a folder."""
    return Registry(StoreConfig(url=f"sqlite:///{folder / 'store.db'}", timeout_s=0.1), LimitsConfig())


def admin_app(registry: RegistryClient, tokens: Tokens) -> Starlette:
    """The routes, with the rendering of errors that the ingress does."""

    async def authorize(request: Request) -> Principal:
        principal = tokens.verify(request.headers.get("authorization"))
        if not _ROLES.is_admin(principal):
            raise Forbidden("Only administrators may do this.")
        return principal

    async def models() -> list[dict[str, Any]]:
        return MODELS

    def render(_: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        headers = {"content-type": "application/json", **error.headers}
        return Response(error.render(), error.status_code, headers)

    return Starlette(
        routes=admin.routes(
            authorize,
            registry,
            roles=("user", "batch", "admin"),
            rules=RULES,
            prices=PRICES,
            models=models,
            decided_by=fleet_of(SetBoard({})),
            max_body_bytes=4096,
        ),
        exception_handlers={ApiError: render},
    )
