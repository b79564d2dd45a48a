"""``/admin/v1/keys``: API keys are made, listed, rotated and revoked."""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from typing import Annotated, Any, Final

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deployments.config import FrozenConfig
from serve_app.auth.config import TenantName
from serve_app.auth.keys import ApiKey, IssuedKey, NewKey
from serve_app.auth.principal import Principal
from serve_app.errors import InvalidRequest, NotFound
from serve_app.registry import RegistryClient
from serve_app.registry.operations import CreateKey, GetKey, ListKeys, RevokeKey, RotateKey
from serve_app.routes.admin.resource import Resources, listing, query

_KEY_ID: Final = re.compile(r"key_[0-9a-f]{24}")
_MAX_GRACE_S: Final = 30 * 86_400


class KeyQuery(FrozenConfig):
    """Which keys."""

    tenant: TenantName | None = Field(None, description="Of this tenant alone.")


class Rotation(FrozenConfig):
    """How a key is rotated."""

    grace_s: Annotated[float, Field(ge=0, le=_MAX_GRACE_S)] = Field(
        3600, description="For so long the secret that the key had holds too, seconds."
    )


def routes(resources: Resources, registry: RegistryClient, roles: Collection[str]) -> list[Route]:
    """The keys, one key, and its rotation.

    Args:
        resources: Makes routes.
        registry: Of keys.
        roles: Names of the configuration's roles; a key with another would silently grant nothing.
    """

    async def list_keys(request: Request, _: Principal) -> Response:
        keys = await registry.run(ListKeys(query(request, KeyQuery).tenant))
        return listing([shown(key) for key in keys])

    async def create(request: Request, _: Principal) -> Response:
        new = await resources.body(request, NewKey)
        if new.expires_at is not None and new.expires_at <= time.time():
            raise InvalidRequest("expires_at: lies in the past; give a later moment.", param="expires_at")
        if unknown := sorted(set(new.roles) - set(roles)):
            raise InvalidRequest(
                f"roles: there is no role {unknown[0]!r}; one of {', '.join(roles)}.", param="roles"
            )
        return _issued(await registry.run(CreateKey(new)), status_code=201)

    async def get(request: Request, _: Principal) -> Response:
        return JSONResponse(shown(await registry.run(GetKey(_key_id(request)))))

    async def revoke(request: Request, _: Principal) -> Response:
        return JSONResponse(shown(await registry.run(RevokeKey(_key_id(request)))))

    async def rotate(request: Request, _: Principal) -> Response:
        key_id = _key_id(request)
        rotation = await resources.body(request, Rotation)
        return _issued(await registry.run(RotateKey(key_id, rotation.grace_s)))

    return [
        resources.route("/keys", GET=list_keys, POST=create),
        resources.route("/keys/{key_id}", GET=get, DELETE=revoke),
        resources.route("/keys/{key_id}/rotate", POST=rotate),
    ]


def shown(key: ApiKey) -> dict[str, Any]:
    """What an administrator sees of a key: never its digest. Moments in seconds since 1970."""
    return {
        "object": "api_key",
        "id": key.id,
        "name": key.name,
        "subject": key.subject,
        "tenant": key.tenant,
        "roles": sorted(key.roles),
        "hint": key.hint,
        "active": key.is_active(time.time()),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "models": key.models,
        "addresses": key.addresses,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
        "previous_expires_at": key.previous_expires_at,
    }


def _issued(key: IssuedKey, status_code: int = 200) -> Response:
    return JSONResponse({"key": key.secret, **shown(key.record)}, status_code)


def _key_id(request: Request) -> str:
    """The id in the path.

    Raises:
        NotFound: No key has an id of that form; what it may hold else breaks some databases.
    """
    key_id: str = request.path_params["key_id"]
    if _KEY_ID.fullmatch(key_id) is None:
        raise NotFound(
            "There is no key of that id; ids look like key_0123..., and GET /admin/v1/keys lists them."
        )
    return key_id
