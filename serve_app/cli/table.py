"""Tables and JSON on standard output."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_PIPE_WIDTH: Final = 240
"""Columns of a table that no terminal shows, so that nothing is cut."""


def show(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table.

    Args:
        columns: Headings.
        rows: Cells, shown as they are; None as ``-``. Numbers stand to the right.
    """
    table = Table(box=box.SIMPLE_HEAD)
    listed = [list(row) for row in rows]
    for index, column in enumerate(columns):
        numbers = any(isinstance(row[index], int | float) for row in listed)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in listed:
        table.add_row(*(Text(_cell(value)) for value in row))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPE_WIDTH
    Console(width=width, highlight=False).print(table)


def show_json(value: Any) -> None:
    """Print JSON."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def moment(seconds: float | None) -> str | None:
    """A moment, seconds since 1970, on this machine's clock."""
    return None if seconds is None else f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M}"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return ", ".join(_cell(part) for part in value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    # What does not print could steer the terminal.
    return "".join(sign if sign.isprintable() else "�" for sign in str(value))
