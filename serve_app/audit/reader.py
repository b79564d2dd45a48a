"""Lines of a chain, read from any place on, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_app.audit.chain import MAX_LINE_BYTES, BadLine, Follower, Kind, Link, parse
from serve_app.audit.segment import files_of, first_seq


class ChainUnreadable(Exception):
    """A chain that cannot be read on. The message is a sentence and says what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place between two lines.

    Attributes:
        file: Name of the file.
        offset: Bytes of it before the place.
        link: The line before.
    """

    file: str
    offset: int
    link: Link


@dataclass(frozen=True, slots=True)
class Entry:
    """A line that was read.

    Attributes:
        kind: What it is.
        said: Its fields.
        line: The line itself, without its newline.
        behind: The place behind it.
    """

    kind: Kind
    said: dict[str, Any]
    line: bytes
    behind: Place


def lines(path: Path, offset: int = 0) -> Iterator[bytes]:
    """The lines of a file, each with its newline; the last may be cut short and have none.

    A line that is longer than any that is written comes in pieces, of which none is good.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        file.seek(offset)
        while line := file.readline(MAX_LINE_BYTES):
            yield line


def entries(folder: Path, chain_id: str, upto: int, start: Place | None = None) -> Iterator[Entry]:
    """The lines of a chain, each checked against the one before.

    Args:
        folder: Of the chain.
        chain_id: Its id.
        upto: Number of the last line to read.
        start: Where to begin; None: at the first line that is there.

    Raises:
        ChainUnreadable: A line is bad or missing.
        OSError: A file cannot be read.
    """
    files = files_of(folder)
    if start is not None:
        files = [path for path in files if path.name >= start.file]
        if not files or files[0].name != start.file:
            raise ChainUnreadable(f"{folder / start.file} is gone; run `qwen-serve audit verify {folder}`.")
    follower = Follower(chain_id, start.link if start else None)
    for path in files:
        offset = start.offset if start and path.name == start.file else 0
        for line in lines(path, offset):
            if follower.link.seq >= upto:
                return
            try:
                kind = follower.follow(line.removesuffix(b"\n"))
            except BadLine as error:
                raise ChainUnreadable(
                    f"{path}: the line behind number {follower.link.seq} {error}; "
                    f"run `qwen-serve audit verify {folder}`."
                ) from error
            offset += len(line)
            yield Entry(kind, parse(line), line[:-1], Place(path.name, offset, follower.link))


def place_behind(folder: Path, seq: int) -> Place | None:
    """A place to begin reading from, so that the line after number ``seq`` is soon reached.

    Returns:
        None where that is the begin of the chain.
    """
    for path in reversed(files_of(folder)):
        first = first_seq(path)
        if first is not None and 0 < first <= seq + 1:
            opening = parse(next(lines(path)))
            return Place(path.name, 0, Link(first - 1, str(opening.get("prev"))))
    return None
