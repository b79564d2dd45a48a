"""``qwen-serve audit``: check the audit's files, and read what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serve_app.audit.chain import Link
from serve_app.audit.signing import SigningKeyError, read_public
from serve_app.audit.verify import Report, verify
from serve_app.cli.console import fail, warn

_TAMPERED_EXIT = 1

audit = typer.Typer(
    help="The record of every request: check that nobody has changed it.", no_args_is_help=True
)


@audit.callback()
def _group() -> None:
    """Keeps ``verify`` a command of its own, although it is the only one."""


@audit.command("verify")
def verify_command(
    directory: Annotated[
        Path, typer.Argument(help="The configuration's audit.directory, or one chain in it.")
    ],
    key: Annotated[
        list[Path],
        typer.Option(
            help="PEM file with the signing key or its public part; may be repeated. Take it from a place "
            "that whoever can write the directory cannot change."
        ),
    ] = [Path(".qwen-serve/audit.key")],  # noqa: B006
    known: Annotated[
        list[str],
        typer.Option(help="SEQ:HASH of a line kept elsewhere, which must still be there; may be repeated."),
    ] = [],  # noqa: B006
) -> None:
    """Find any edit, deletion, insertion, truncation and reordering; exit with 1 if there is one."""
    try:
        reports = list(verify(directory, read_public(key), [_link(text) for text in known]))
    except SigningKeyError as error:
        fail(f"--key: {error}")
    except ValueError as error:
        fail(f"--known: {error}")
    except OSError as error:
        fail(f"Cannot read {error.filename or directory}: {error.strerror}.")
    if not reports:
        fail(f"{directory} holds no chain; give the configuration's audit.directory.")
    for report in reports:
        _tell(report)
    if any(report.problem for report in reports):
        raise typer.Exit(_TAMPERED_EXIT)


def _tell(report: Report) -> None:
    if report.problem is not None:
        typer.echo(f"{report.folder}: BAD after {report.records} good records: {report.problem}")
        return
    typer.echo(
        f"{report.folder}: ok, {report.records} records in {report.files} files, "
        f"last line {report.link.seq}:{report.link.hash}"
    )
    if report.recovered:
        typer.echo(f"  taken up after a crash {report.recovered} times")
    if report.unrecorded:
        warn(f"{report.folder}: {report.unrecorded} requests have no record, as the disk did not take it")
    if report.unsigned:
        warn(f"{report.folder}: the last {report.unsigned} lines are not signed for yet, and could be cut")
    if report.unfinished_bytes:
        warn(f"{report.folder}: the last line is unfinished ({report.unfinished_bytes} bytes)")


def _link(text: str) -> Link:
    seq, colon, digest = text.partition(":")
    if not colon or not seq.isdecimal() or len(digest) != 64:
        raise ValueError(
            f"{text!r} is not SEQ:HASH, such as `qwen-serve audit verify` prints of the last line"
        )
    return Link(int(seq), digest)
