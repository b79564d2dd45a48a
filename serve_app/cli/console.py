"""How commands speak: results on standard output, everything else on standard error."""

from __future__ import annotations

from typing import NoReturn

import typer
from rich.console import Console

ERROR_EXIT = 2
"""Exit code of a command that was given something it cannot use."""

errors = Console(stderr=True, highlight=False, soft_wrap=True)


def fail(message: str) -> NoReturn:
    """Say in one line what is wrong and what to do, and end the command."""
    for line in message.splitlines():
        errors.print(f"[bold red]error:[/] {_escaped(line)}")
    raise typer.Exit(ERROR_EXIT)


def warn(message: str) -> None:
    """Say what is worth a look."""
    errors.print(f"[yellow]warning:[/] {_escaped(message)}")


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")
