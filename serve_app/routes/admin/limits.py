"""``/admin/v1/limits``: the configuration's limits, and what administrators set in their place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deployments.config import FrozenConfig, ModelId
from serve_app.auth.principal import Principal
from serve_app.errors import NotFound
from serve_app.limits import LimitName, LimitRule, Scope
from serve_app.limits.config import Amount
from serve_app.registry import RegistryClient
from serve_app.registry.operations import DeleteLimit, ListLimits, SetLimit
from serve_app.routes.admin.resource import Name, Resources, listing, query
from serve_app.store import LimitKey, LimitOverride


class LimitChoice(FrozenConfig):
    """Which limit, and whose."""

    scope: Scope = Field(..., description="Whose use is added up: key, user, tenant or model.")
    name: Name = Field(..., description="Of that key, user, tenant or model; *: each one by itself.")
    limit: LimitName = Field(..., description="Which limit.")
    tenant: Name | None = Field(None, description="Only for callers of this tenant.")
    model: ModelId | Literal["*"] | None = Field(
        None,
        description="Only what is asked of this model; *: each model by itself; none: all models together.",
    )

    @field_validator("model")
    @classmethod
    def _scope_model_names_it(cls, model: str | None, info: ValidationInfo) -> str | None:
        if model is not None and info.data.get("scope") is Scope.MODEL:
            raise PydanticCustomError(
                "model_twice", "a limit of scope model names its model in name; leave model out"
            )
        return model

    def key(self) -> LimitKey:
        """The limit as the store knows it."""
        return LimitKey(self.scope.value, self.name, self.limit.value, self.tenant, self.model)


class NewLimit(LimitChoice):
    """A limit that is to hold in place of the configuration's."""

    value: Amount = Field(..., description="How much.")


def routes(resources: Resources, registry: RegistryClient, rules: Sequence[LimitRule]) -> list[Route]:
    """The limits: all of them, one set, one unset.

    Args:
        resources: Makes routes.
        registry: Of the limits that administrators set.
        rules: The configuration's.
    """
    configured = [entry for rule in rules for entry in _of_rule(rule)]

    async def list_limits(_: Request, __: Principal) -> Response:
        overrides = await registry.run(ListLimits())
        return listing([*configured, *map(_of_override, overrides)])

    async def set_limit(request: Request, principal: Principal) -> Response:
        new = await resources.body(request, NewLimit)
        override = await registry.run(SetLimit(new.key(), new.value, principal.subject))
        return JSONResponse(_of_override(override))

    async def unset(request: Request, _: Principal) -> Response:
        key = query(request, LimitChoice).key()
        if not await registry.run(DeleteLimit(key)):
            raise NotFound(
                "No administrator has set that limit; GET /admin/v1/limits lists those that are set."
            )
        return JSONResponse({**_entry("administrator", key), "deleted": True})

    return [resources.route("/limits", GET=list_limits, PUT=set_limit, DELETE=unset)]


def _of_rule(rule: LimitRule) -> Iterator[dict[str, Any]]:
    for limit in LimitName:
        value = rule.value(limit)
        if value is not None:
            key = LimitKey(rule.scope.value, rule.name, limit.value, rule.tenant, rule.model)
            yield {**_entry("configuration", key), "role": rule.role, "value": value}


def _of_override(override: LimitOverride) -> dict[str, Any]:
    return {
        **_entry("administrator", override.key),
        "role": None,
        "value": override.value,
        "updated_at": override.updated_at,
        "updated_by": override.updated_by,
    }


def _entry(source: Literal["configuration", "administrator"], key: LimitKey) -> dict[str, Any]:
    return {
        "object": "limit",
        "source": source,
        "scope": key.scope,
        "name": key.name,
        "tenant": key.tenant,
        "model": key.model,
        "limit": key.limit,
    }
