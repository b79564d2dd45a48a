"""``qwen-serve check``: is this configuration sound, before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serve_app.cli.console import fail, warn
from serve_app.serve_file import ServeFileError, load


def check(
    file: Annotated[Path, typer.Argument(help="A Serve configuration, such as serve_config.yaml.")],
) -> None:
    """Validate a configuration without starting anything, Ray Serve's own part included."""
    try:
        loaded = load(file)
    except ServeFileError as error:
        fail(str(error))
    for problem in loaded.warnings:
        warn(f"{file}: {problem.path}: {problem.message}")
    app = loaded.app
    typer.echo(f"{file}: ok, {len(app.models)} models, {len(app.aliases)} aliases")
