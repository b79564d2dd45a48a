"""``qwen-serve key``: API keys are made, listed, rotated and revoked."""

from __future__ import annotations

import time
from typing import Annotated, Any
from urllib.parse import quote

import typer

from serve_app.auth.principal import DEFAULT_TENANT
from serve_app.auth.tokens import duration_s
from serve_app.cli import table
from serve_app.cli.admin_client import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    UrlOption,
    connect,
)
from serve_app.cli.console import errors, fail

app = typer.Typer(help="API keys: make, list, rotate, revoke.", no_args_is_help=True)

_KeyArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The key's id; `qwen-serve key list` shows it.")
]


@app.command()
def create(  # noqa: PLR0913, PLR0917  (its options)
    name: Annotated[str, typer.Option(help="What the key is called.")],
    subject: Annotated[str, typer.Option(help="The user or service that it speaks for.")],
    tenant: Annotated[str, typer.Option(help="The department that it belongs to.")] = DEFAULT_TENANT,
    role: Annotated[list[str], typer.Option(help="What it grants; may be repeated.")] = ["user"],  # noqa: B006
    expires: Annotated[str | None, typer.Option(help="When it ends: 12h, 90d, ...; default: never.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Pattern of the only models it is for; may be repeated.")
    ] = None,
    address: Annotated[
        list[str] | None, typer.Option(help="Network that it may be used from; may be repeated.")
    ] = None,
    url: UrlOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print it; it is shown this once."""
    body = {
        "name": name,
        "subject": subject,
        "tenant": tenant,
        "roles": role,
        "expires_at": None if expires is None else time.time() + _seconds("--expires", expires),
        "models": model or None,
        "addresses": address or None,
    }
    _show_secret(connect(url, config).call("POST", "/keys", body=body), as_json)


@app.command("list")
def list_keys(
    tenant: Annotated[str | None, typer.Option(help="Of this tenant alone.")] = None,
    url: UrlOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List the keys that are not revoked."""
    answer = connect(url, config).call("GET", "/keys", query={"tenant": tenant})
    if as_json:
        table.show_json(answer)
    else:
        table.show(
            ("id", "name", "tenant", "subject", "roles", "key", "made", "expires", "last used"),
            map(_row, answer["data"]),
        )


@app.command()
def rotate(
    key_id: _KeyArgument,
    grace: Annotated[
        str, typer.Option(help="How long the old secret holds too: 1h, 7d, ...; 0: not at all.")
    ] = "1h",
    url: UrlOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Give a key a new secret and print it; it is shown this once."""
    body = {"grace_s": 0 if grace == "0" else _seconds("--grace", grace)}
    answer = connect(url, config).call("POST", f"/keys/{quote(key_id, safe='')}/rotate", body=body)
    _show_secret(answer, as_json)


@app.command()
def revoke(
    key_id: _KeyArgument,
    url: UrlOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """End a key now."""
    answer = connect(url, config).call("DELETE", f"/keys/{quote(key_id, safe='')}")
    if as_json:
        table.show_json(answer)
    else:
        typer.echo(f"{answer['id']}: revoked; within 5 seconds no replica takes it any more")


def _show_secret(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        table.show_json(answer)
        return
    typer.echo(answer["key"])
    # Not on standard output, which may be on its way into a file or a variable.
    errors.print(f"{answer['id']}: keep the key above; it is not shown again.", markup=False)


def _row(key: dict[str, Any]) -> tuple[object, ...]:
    return (
        key["id"],
        key["name"],
        key["tenant"],
        key["subject"],
        key["roles"],
        f"...{key['hint']}",
        table.moment(key["created_at"]),
        table.moment(key["expires_at"]) if key["active"] else "expired",
        table.moment(key["last_used_at"]),
    )


def _seconds(option: str, text: str) -> int:
    try:
        return duration_s(text)
    except ValueError as error:
        fail(f"{option}: {error}")
