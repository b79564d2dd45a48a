"""``qwen-serve usage``: who used what, what it cost, and what it saved."""

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
from serve_app.cli.console import warn

_FIGURES = {
    "requests": "requests",
    "prompt_tokens": "tokens in",
    "completion_tokens": "tokens out",
    "cost_cny": "cost, CNY",
    "public_cost_cny": "public API, CNY",
    "saving_cny": "saving, CNY",
}


def usage_command(  # noqa: PLR0913, PLR0917  (its options)
    by: Annotated[
        str, typer.Option(help="What to tell apart: some of tenant,user,model,day.")
    ] = "tenant,model",
    since: Annotated[str | None, typer.Option(help="From this day on, such as 2026-11-01.")] = None,
    until: Annotated[str | None, typer.Option(help="The first day that does not count.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Of this tenant alone.")] = None,
    user: Annotated[str | None, typer.Option(help="Of this user alone.")] = None,
    model: Annotated[str | None, typer.Option(help="Of this model alone.")] = None,
    utc_offset: Annotated[str, typer.Option(help="Where days begin: Z, or +08:00 for China.")] = "Z",
    url: UrlOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV, for a spreadsheet.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show who used what, what it cost, and what the same would have cost on the public API."""
    query = {
        "by": by,
        "since": since,
        "until": until,
        "tenant": tenant,
        "user": user,
        "model": model,
        "utc_offset": utc_offset,
        "format": "csv" if as_csv else "json",
    }
    client = connect(url, config)
    if as_csv:
        typer.echo(client.text("GET", "/usage", query=query), nl=False)
        return
    answer = client.call("GET", "/usage", query=query)
    if as_json:
        table.show_json(answer)
    else:
        _show(answer)


def _show(answer: dict[str, Any]) -> None:
    rows = [(*(line[part] for part in answer["by"]), *_figures(line)) for line in answer["data"]]
    blank = [""] * (len(answer["by"]) - 1)
    table.show((*answer["by"], *_FIGURES.values()), [*rows, ("total", *blank, *_figures(answer["total"]))])
    if answer["models_without_price"]:
        models = ", ".join(answer["models_without_price"])
        warn(f"without a price, and so counted as free: {models}; set it in `prices` of the configuration")


def _figures(line: dict[str, Any]) -> list[int | float | None]:
    return [line[name] for name in _FIGURES]
