"""Lines that each carry the hash of the one before.

A line is one JSON object in this form, byte by byte::

    {"id":"<chain>-<seq>","seq":<seq>,"prev":"<hash>","kind":"<kind>",<fields>,"hash":"<hash>"}

``hash`` is the SHA-256 of all that stands before it in the line, and ``prev`` that of the line before.
So the bytes themselves are what is checked: no second way to write a line exists.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from serve_app.audit.signing import Signer

FORMAT: Final = 1
"""Of the chain, told by every opening line."""
CLOSE_PURPOSE: Final = "close"
MAX_LINE_BYTES: Final = 4 * 1024 * 1024
"""No line is longer; a reader takes no more into memory."""

_HASH_FIELD: Final = b',"hash":"'
_SUFFIX_BYTES: Final = len(_HASH_FIELD) + 64 + 2


class Kind(StrEnum):
    """What a line is."""

    OPEN = "open"
    """The first of a file: which chain, which key, which format."""
    RECORD = "record"
    USAGE = "usage"
    """What the records since the last such line used goes into the usage table now, under a name."""
    GAP = "gap"
    """Requests that have no record, and how many."""
    RECOVERED = "recovered"
    """The process before this one did not end as it should."""
    CLOSE = "close"
    """The last of a file, signed."""


@dataclass(frozen=True, slots=True)
class Link:
    """What the next line joins.

    Attributes:
        seq: Of the last line; -1 before the first.
        hash: Of the last line.
    """

    seq: int = -1
    hash: str = "0" * 64


class BadLine(Exception):
    """A line that is not what the writer wrote there. The message ends the sentence "this line ..."."""


class Chain:
    """Makes the lines of one chain.

    Args:
        chain_id: Unlike any other chain's.
        link: Its last line so far.
    """

    def __init__(self, chain_id: str, link: Link) -> None:
        self.chain_id = chain_id
        self.link = link

    def line(self, kind: Kind, fields: Mapping[str, object], signer: Signer | None = None) -> bytes:
        """The next line, its newline included.

        Args:
            kind: What it is.
            fields: What it says; at least one, as JSON can hold them.
            signer: Signs the line.

        Raises:
            ValueError: A field holds what JSON cannot.
            TypeError: The same.
        """
        said = json.dumps(fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        seq = self.link.seq + 1
        # Half a surrogate pair, which a client may send, has no bytes; it becomes a question mark.
        body = _prefix(self.chain_id, self.link) + f'"{kind}",{said[1:-1]}'.encode(errors="replace")
        if signer is not None:
            body = signer.sign(CLOSE_PURPOSE, body)
        digest = hashlib.sha256(body).hexdigest()
        self.link = Link(seq, digest)
        return body + _HASH_FIELD + digest.encode() + b'"}\n'


class Follower:
    """Goes along a chain and checks each line against the one before.

    Args:
        chain_id: Whose lines these are; None: whatever the first line says.
        link: The line before the first; None: whatever the first line says.
    """

    def __init__(self, chain_id: str | None = None, link: Link | None = None) -> None:
        self.chain_id = chain_id
        self.link = link or Link()
        self._anywhere = link is None

    def follow(self, line: bytes) -> Kind:
        """Check the next line, given without its newline.

        Raises:
            BadLine: It is not the next line.
        """
        body, suffix = line[:-_SUFFIX_BYTES], line[-_SUFFIX_BYTES:]
        digest = hashlib.sha256(body).hexdigest()
        if suffix != _HASH_FIELD + digest.encode() + b'"}':
            raise BadLine("was edited or is cut short: its hash is not that of its content")
        if self.chain_id is None or self._anywhere:
            self._begin(line)
        assert self.chain_id is not None
        prefix = _prefix(self.chain_id, self.link)
        if not body.startswith(prefix):
            raise BadLine(self._why(line))
        try:
            kind = Kind(body[len(prefix) + 1 : body.index(b'"', len(prefix) + 1)].decode())
        except ValueError:
            raise BadLine("is of a kind that no version of this program writes") from None
        self.link = Link(self.link.seq + 1, digest)
        return kind

    def _begin(self, line: bytes) -> None:
        said = parse(line)
        try:
            if self.chain_id is None:
                self.chain_id = str(said["id"]).rpartition("-")[0]
            if self._anywhere:
                self.link = Link(int(said["seq"]) - 1, str(said["prev"]))
                self._anywhere = False
        except (KeyError, ValueError, TypeError):
            raise BadLine("is not a line of a chain") from None

    def _why(self, line: bytes) -> str:
        said, due = parse(line), self.link.seq + 1
        seq = said.get("seq")
        if said.get("id") != f"{self.chain_id}-{seq}" or not isinstance(seq, int):
            return "does not belong to this chain"
        if seq > due:
            return f"has number {seq}, but number {due} is due: lines were deleted or put in another order"
        if seq < due:
            return f"has number {seq}, but number {due} is due: lines were inserted or put in another order"
        return "does not follow the line before: one of the two was rewritten"


def body_of(line: bytes) -> bytes:
    """What the hash of a line covers, which is what its signature ends."""
    return line[:-_SUFFIX_BYTES]


def parse(line: bytes) -> dict[str, Any]:
    """A line's fields.

    Raises:
        BadLine: It is no JSON object.
    """
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise BadLine("is not a JSON object")
    return said


def _prefix(chain_id: str, link: Link) -> bytes:
    seq = link.seq + 1
    return f'{{"id":"{chain_id}-{seq}","seq":{seq},"prev":"{link.hash}","kind":'.encode()
