"""``/admin/v1/usage``: who used what, what it cost, and what it saved."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import date
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deployments.config import FrozenConfig
from serve_app.auth.principal import Principal
from serve_app.registry import RegistryClient
from serve_app.registry.operations import SumUsage
from serve_app.routes.admin.report import Column, Report
from serve_app.routes.admin.resource import Name, Resources, query
from serve_app.store import UsageSum
from serve_app.store.usage import Dimension
from serve_app.usage import days
from serve_app.usage.prices import PriceConfig
from serve_app.usage.statement import dimensions, statement

_DIMENSIONS: Final[Mapping[Column, Dimension]] = {
    "tenant": "tenant",
    "user": "subject",
    "model": "model",
    "day": "day",
}
_CSV_HEADERS: Final = {"content-disposition": 'attachment; filename="usage.csv"'}

T = TypeVar("T")


def _reads(read: Callable[[str], T]) -> BeforeValidator:
    """Text by a function whose ``ValueError`` is for whoever asked."""

    def validate(value: Any) -> T:
        try:
            return read(value)
        except ValueError as error:
            raise PydanticCustomError("form", "{why}", {"why": str(error)}) from error

    return BeforeValidator(validate)


def _columns(text: str) -> tuple[str, ...]:
    columns = tuple(text.split(","))
    if len(set(columns)) < len(columns) or not set(columns) <= _DIMENSIONS.keys():
        raise ValueError(f"write some of {','.join(_DIMENSIONS)}, each once, with commas between them")
    return columns


class UsageQuery(FrozenConfig):
    """Which usage, and how it is told."""

    by: Annotated[tuple[Column, ...], _reads(_columns)] = Field(
        ("tenant", "user", "model"), description="What to tell apart, with commas between."
    )
    since: Annotated[date, _reads(days.day)] | None = Field(
        None, description="From the begin of this day on."
    )
    until: Annotated[date, _reads(days.day)] | None = Field(None, description="Until this day begins.")
    tenant: Name | None = Field(None, description="Of this tenant alone.")
    user: Name | None = Field(None, description="Of this user alone.")
    model: Name | None = Field(None, description="Of this model alone, by its id.")
    utc_offset: Annotated[int, _reads(days.offset_s)] = Field(
        0, description="Where days begin: Z, or +08:00 for China."
    )
    format: Literal["json", "csv"] = Field("json", description="JSON, or CSV for a spreadsheet.")

    @field_validator("until")
    @classmethod
    def _is_after_since(cls, until: date | None, info: ValidationInfo) -> date | None:
        since = info.data.get("since")
        if until is not None and since is not None and until <= since:
            raise PydanticCustomError(
                "order", "until is the first day that does not count; it is after since"
            )
        return until

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """What to tell apart, as the store calls it."""
        return tuple(_DIMENSIONS[column] for column in self.by)

    def operation(self) -> SumUsage:
        """The question to the registry."""
        return SumUsage(
            dimensions(self.dimensions),
            since=None if self.since is None else days.begin_s(self.since, self.utc_offset),
            until=None if self.until is None else days.begin_s(self.until, self.utc_offset),
            tenant=self.tenant,
            subject=self.user,
            model=self.model,
            utc_offset_s=self.utc_offset,
        )


def routes(resources: Resources, registry: RegistryClient, prices: Mapping[str, PriceConfig]) -> list[Route]:
    """The usage.

    Args:
        resources: Makes routes.
        registry: Of the usage.
        prices: By model id.
    """

    async def usage(request: Request, _: Principal) -> Response:
        asked = query(request, UsageQuery)
        sums = await registry.run(asked.operation())
        # In a thread: the sums of a year by user and day would hold up the streams of this replica.
        return await asyncio.to_thread(_answer, asked, sums, prices)

    return [resources.route("/usage", GET=usage)]


def _answer(asked: UsageQuery, sums: tuple[UsageSum, ...], prices: Mapping[str, PriceConfig]) -> Response:
    report = Report(statement(sums, asked.dimensions, prices), asked.by, asked.utc_offset)
    if asked.format == "csv":
        return Response(report.csv(), media_type="text/csv", headers=_CSV_HEADERS)
    return JSONResponse({"object": "list", **report.json()})
