"""``qwen-serve token``: a bearer token for one subject."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serve_app.auth import secret
from serve_app.auth.config import AuthConfig
from serve_app.auth.principal import DEFAULT_TENANT, is_name
from serve_app.auth.tokens import Tokens, duration_s
from serve_app.cli.console import fail
from serve_app.serve_file import ServeFileError, load


def token(
    subject: Annotated[str, typer.Option(help="Whom the token names, in the audit and in limits.")],
    tenant: Annotated[str, typer.Option(help="The department that the subject belongs to.")] = DEFAULT_TENANT,
    role: Annotated[list[str], typer.Option(help="What the token grants; may be repeated.")] = ["user"],  # noqa: B006
    expires: Annotated[str, typer.Option(help="How long it is good for: 90s, 12h, 30d, ...")] = "30d",
    config: Annotated[Path, typer.Option(help="The Serve configuration whose secret signs it.")] = Path(
        "serve_config.yaml"
    ),
) -> None:
    """Issue a token and print it."""
    for option, name in (("--subject", subject), ("--tenant", tenant)):
        if not is_name(name):
            fail(f"{option}: write 1 to 256 printable characters")
    try:
        auth = load(config).app.auth
        typer.echo(issue(auth, subject, role, duration_s(expires), tenant=tenant))
    except ValueError as error:
        fail(f"--expires: {error}")
    except (ServeFileError, secret.SecretError) as error:
        fail(str(error))


def issue(
    auth: AuthConfig, subject: str, roles: list[str], expires_s: int, *, tenant: str = DEFAULT_TENANT
) -> str:
    """A token signed as a configuration's ingress expects it.

    Raises:
        SecretError: The signing secret is missing or unfit.
    """
    tokens = Tokens(secret.read(auth.secret_file), issuer=auth.issuer, audience=auth.audience)
    return tokens.issue(subject, roles, expires_s, tenant=tenant)
