"""``/admin/v1/revocations``: JWTs that no longer hold."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deployments.config import FrozenConfig
from serve_app.auth.changes import Revocation
from serve_app.auth.principal import Principal
from serve_app.registry import RegistryClient
from serve_app.registry.operations import ListRevocations, RevokeSubject, RevokeToken
from serve_app.routes.admin.resource import Name, Resources, listing

TokenId = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=512)]


class NewRevocation(FrozenConfig):
    """What is revoked: one token, or all that a subject has now."""

    token_id: TokenId | None = Field(None, description="The `jti` of one JWT.")
    subject: Name | None = Field(None, description="Whose JWTs, all that were issued until now.")

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.token_id is None) == (self.subject is None):
            raise PydanticCustomError("revoked_kind", "name either token_id or subject")
        return self


def routes(resources: Resources, registry: RegistryClient) -> list[Route]:
    """The revocations that still hold for something, and another one."""

    async def list_revocations(_: Request, __: Principal) -> Response:
        return listing([_shown(revocation) for revocation in await registry.run(ListRevocations())])

    async def revoke(request: Request, _: Principal) -> Response:
        new = await resources.body(request, NewRevocation)
        if new.token_id is not None:
            revocation = await registry.run(RevokeToken(new.token_id))
        else:
            assert new.subject is not None
            revocation = await registry.run(RevokeSubject(new.subject))
        return JSONResponse(_shown(revocation), 201)

    return [resources.route("/revocations", GET=list_revocations, POST=revoke)]


def _shown(revocation: Revocation) -> dict[str, Any]:
    return {
        "object": "revocation",
        "kind": revocation.kind.value,
        "name": revocation.name,
        "revoked_at": revocation.revoked_at,
        "expires_at": revocation.expires_at,
    }
