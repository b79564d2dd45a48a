"""How far a chain had come when it was last safe on the disk, signed.

A chain's end proves nothing by itself: cut off lines leave a shorter chain that is as good. The head
is the proof that they were there. It is written after each fsync, never before, so a chain always
reaches its head. Lines behind the head, at most those of one interval, can be cut without a trace
while the process that wrote them is dead.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serve_app.audit.chain import Link
from serve_app.audit.signing import Signer, Verifier

FILE_NAME: Final = "head.json"
_PURPOSE: Final = "head"


class HeadError(Exception):
    """A head that is missing or not what was written. The message is a sentence."""


@dataclass(frozen=True, slots=True)
class Head:
    """A place in a chain that was safe.

    Attributes:
        chain_id: Which chain.
        link: Its last line at that time.
        key_id: The key that signed.
    """

    chain_id: str
    link: Link
    key_id: str


def write(folder: Path, chain_id: str, link: Link, timestamp: str, signer: Signer) -> None:
    """Replace the head of a chain.

    Raises:
        OSError: The disk does not take it; the old head is still there.
    """
    said = {
        "chain": chain_id,
        "seq": link.seq,
        "hash": link.hash,
        "timestamp": timestamp,
        "key": signer.key_id,
    }
    body = json.dumps(said, separators=(",", ":")).encode()[:-1]
    replace(folder / FILE_NAME, signer.sign(_PURPOSE, body) + b"}\n")


def read(folder: Path, verifier: Verifier) -> Head:
    """The head of a chain.

    Raises:
        HeadError: There is none, or it is not what one of the keys has signed.
    """
    path = folder / FILE_NAME
    try:
        content = path.read_bytes()
    except OSError as error:
        raise HeadError(f"The head cannot be read: {error.strerror}.") from error
    try:
        said = json.loads(content)
        head = Head(str(said["chain"]), Link(int(said["seq"]), str(said["hash"])), str(said["key"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise HeadError("The head was edited: it is not what this program writes.") from None
    if head.key_id not in verifier.key_ids:
        raise HeadError(f"The head is signed with the key {head.key_id}, which is not among the given ones.")
    if not content.endswith(b"}\n") or not verifier.holds(_PURPOSE, head.key_id, content[:-2]):
        raise HeadError("The head was edited: its signature does not hold.")
    return head


def replace(path: Path, content: bytes) -> None:
    """Give a file new content, all of it or none, safe against a crash.

    Raises:
        OSError: The disk does not take it; the old content is still there.
    """
    beside = path.with_name(f".{path.name}.new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
