"""``qwen-serve limits``: the limits that hold, and other ones in their place."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from serve_app.cli import table
from serve_app.cli.admin_client import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    UrlOption,
    connect,
)
from serve_app.limits import LimitName, Scope

app = typer.Typer(help="Limits: list them, set others in their place.", no_args_is_help=True)

_LimitArgument = Annotated[LimitName, typer.Argument(metavar="LIMIT", help=f"One of {', '.join(LimitName)}.")]
_ScopeOption = Annotated[Scope, typer.Option(help="Whose use is added up.")]
_NameOption = Annotated[
    str, typer.Option(help="Of that key (its id), user, tenant or model; *: each one by itself.")
]
_TenantOption = Annotated[str | None, typer.Option(help="Only for callers of this tenant.")]
_ModelOption = Annotated[str | None, typer.Option(help="Only for this model; *: for each model by itself.")]


@app.command("list")
def list_limits(
    url: UrlOption = None, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False
) -> None:
    """List the limits of the configuration, and those that administrators have set."""
    answer = connect(url, config).call("GET", "/limits")
    if as_json:
        table.show_json(answer)
    else:
        table.show(
            ("of", "name", "limit", "value", "tenant", "role", "model", "set by", "since"),
            map(_row, answer["data"]),
        )


@app.command("set")
def set_limit(  # noqa: PLR0913, PLR0917  (its options)
    limit: _LimitArgument,
    value: Annotated[int, typer.Argument(min=1, help="How much.")],
    scope: _ScopeOption,
    name: _NameOption,
    tenant: _TenantOption = None,
    model: _ModelOption = None,
    url: UrlOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Set a limit in place of the configuration's."""
    body = {**_choice(limit, scope, name, tenant, model), "value": value}
    answer = connect(url, config).call("PUT", "/limits", body=body)
    if as_json:
        table.show_json(answer)
    else:
        typer.echo(f"{limit.value} of the {scope.value} {name}: {value:,}")


@app.command("unset")
def unset_limit(  # noqa: PLR0913, PLR0917  (its options)
    limit: _LimitArgument,
    scope: _ScopeOption,
    name: _NameOption,
    tenant: _TenantOption = None,
    model: _ModelOption = None,
    url: UrlOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Go back to the configuration's limit."""
    answer = connect(url, config).call("DELETE", "/limits", query=_choice(limit, scope, name, tenant, model))
    if as_json:
        table.show_json(answer)
    else:
        typer.echo(f"{limit.value} of the {scope.value} {name}: as the configuration says")


def _choice(
    limit: LimitName, scope: Scope, name: str, tenant: str | None, model: str | None
) -> dict[str, str | None]:
    return {"limit": limit.value, "scope": scope.value, "name": name, "tenant": tenant, "model": model}


def _row(limit: dict[str, Any]) -> tuple[object, ...]:
    return (
        limit["scope"],
        limit["name"],
        limit["limit"],
        limit["value"],
        limit["tenant"],
        limit["role"],
        limit["model"],
        limit.get("updated_by", limit["source"]),
        table.moment(limit.get("updated_at")),
    )
