"""``qwen-serve secret``: the signing secret, made once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serve_app.auth import secret
from serve_app.cli.console import fail


def secret_command(file: Annotated[Path, typer.Argument(help="Where the secret is kept.")]) -> None:
    """Make the secret that signs tokens, unless the file is there already."""
    existed = file.exists()
    try:
        secret.ensure(file)
    except secret.SecretError as error:
        fail(str(error))
    typer.echo(f"{file}: {'there already, and fit' if existed else 'made'}")
