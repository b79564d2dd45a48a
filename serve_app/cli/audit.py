"""``qwen-serve audit``: check the audit's files, and read what they hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from serve_app.audit.chain import BadLine, Kind, Link, parse
from serve_app.audit.content import ContentKeyError, ContentUnreadable, PrivateKey, read_private, unseal
from serve_app.audit.folder import chains_in
from serve_app.audit.reader import lines
from serve_app.audit.segment import files_of
from serve_app.audit.signing import SigningKeyError, read_public
from serve_app.audit.verify import Report, verify
from serve_app.cli.console import fail, warn

_TAMPERED_EXIT = 1

audit = typer.Typer(
    help="The record of every request: check that nobody has changed it, and read it.", no_args_is_help=True
)


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


@audit.command("show")
def show_command(
    directory: Annotated[
        Path, typer.Argument(help="The configuration's audit.directory, or one chain in it.")
    ],
    request_id: Annotated[str, typer.Argument(help="As the client was told in x-request-id.")],
    content_key: Annotated[
        Path | None,
        typer.Option(
            help="PEM file with the private key for audit.content.public_key_file: shows prompt and answer."
        ),
    ] = None,
) -> None:
    """Show the records of a request; one for each time that its client used the id. Verifies nothing."""
    try:
        key = read_private(content_key) if content_key is not None else None
        found = [said for said in _records(directory) if said.get("request_id") == request_id]
        for said in found:
            typer.echo(json.dumps(_opened(said, key), ensure_ascii=False, indent=2))
    except (ContentKeyError, ContentUnreadable) as error:
        fail(f"--content-key: {error}")
    except OSError as error:
        fail(f"Cannot read {error.filename or directory}: {error.strerror}.")
    if not found:
        fail(f"No record in {directory} has the request id {request_id}.")


def _records(directory: Path) -> Iterator[dict[str, Any]]:
    for path in (path for folder in chains_in(directory) for path in files_of(folder)):
        for line in lines(path):
            with suppress(BadLine):
                said = parse(line)
                if said.get("kind") == Kind.RECORD:
                    yield said


def _opened(said: dict[str, Any], key: PrivateKey | None) -> dict[str, Any]:
    """The record with its prompt and answer in the clear, if there is a key for them."""
    opened = dict(said)
    for name in ("prompt", "answer"):
        if key is not None and (sealed := opened.pop(f"{name}_sealed", None)) is not None:
            opened[name] = unseal(key, sealed, name, str(said["request_id"])).decode(errors="replace")
    return opened


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
