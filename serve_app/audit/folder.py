"""The folder of a chain: made whole, written by one process at a time, taken up again after a crash.

A folder that does not hold what its head says is left as it is: it is evidence. Its successor begins a
chain of its own.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from serve_app.audit import head
from serve_app.audit.chain import BadLine, Chain, Follower, Kind, Link, parse
from serve_app.audit.head import Head, HeadError
from serve_app.audit.reader import lines
from serve_app.audit.record import iso
from serve_app.audit.segment import file_name, files_of, first_seq
from serve_app.audit.signing import Signer, Verifier

_LOCK_NAME: Final = "lock"
_log = logging.getLogger("ray.serve")


class BrokenChain(Exception):
    """A chain that was tampered with while nobody wrote it. The message is a sentence."""


class Lock:
    """The right to write a chain; goes with the process.

    Args:
        folder: Of the chain.

    Raises:
        BlockingIOError: Another process has it.
    """

    def __init__(self, folder: Path, name: str = _LOCK_NAME) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(folder / name, flags, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise

    def release(self) -> None:
        """Let another process have it."""
        os.close(self._descriptor)


@dataclass(frozen=True, slots=True)
class State:
    """A chain as it was found or made.

    Attributes:
        folder: Where it is.
        chain: Its id and last line.
        file: The file that goes on; None: the last one is closed.
        size_bytes: What of that file is good.
        cut_bytes: What was behind that.
        clean: Whether the process before had closed it, or there was none.
        lock: Held.
    """

    folder: Path
    chain: Chain
    file: Path | None
    size_bytes: int
    cut_bytes: int
    clean: bool
    lock: Lock


def take(directory: Path, owner: str, signer: Signer, moment: float) -> State:
    """A chain that nobody writes, or a new one; its owner's own before those of others.

    Those of others too: a machine that does not come back, or a pod whose successor has another name, would
    otherwise leave a chain that nobody ever closes, counts or ships to its end.

    Args:
        directory: Of all chains.
        owner: Begin of the name of a new chain's folder, such as the machine's name.
        signer: Signs its head.
        moment: Now, seconds since 1970.

    Raises:
        OSError: The directory cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    known = sorted(path.parent for path in directory.glob(f"*/{_LOCK_NAME}"))
    for folder in sorted(known, key=lambda each: not each.name.startswith(f"{owner}.")):
        if folder.name.startswith("."):
            continue  # being built, or left half built
        if (state := _take_up(folder, signer.verifier)) is not None:
            return state
    for number in count():
        folder = directory / f"{owner}.{number}"
        if not folder.exists():
            with suppress(FileExistsError):
                return _make(folder, signer, moment)
    raise AssertionError("count() has no end")


def chains_in(directory: Path) -> list[Path]:
    """The folders of chains in a directory, or the directory itself if it is one.

    Raises:
        OSError: It cannot be read.
    """
    if (directory / head.FILE_NAME).exists() or files_of(directory):
        return [directory]
    return sorted(
        path
        for path in directory.iterdir()
        if path.is_dir()
        and not path.name.startswith(".")
        and ((path / head.FILE_NAME).exists() or files_of(path))
    )


def begin_file(folder: Path, chain: Chain, key_id: str, moment: float) -> tuple[Path, int]:
    """Begin the next file of a chain with its opening line, all of it or nothing.

    Returns:
        The file, and its size in bytes.

    Raises:
        OSError: The disk does not take it; the chain is as before.
    """
    before, timestamp = chain.link, iso(moment)
    path = folder / file_name(before.seq + 1, timestamp[:10])
    line = chain.line(Kind.OPEN, {"timestamp": timestamp, "format": 1, "key": key_id})
    try:
        head.replace(path, line)
        _sync_folder(folder)
    except OSError:
        chain.link = before
        raise
    return path, len(line)


def _take_up(folder: Path, verifier: Verifier) -> State | None:
    try:
        lock = Lock(folder)
    except OSError:
        return None  # another process writes it, or it is another user's
    try:
        return _recover(folder, verifier, lock)
    except BrokenChain as error:
        _log.error("The audit chain %s cannot be gone on with, and stays as it is: %s", folder, error)
    except BaseException:
        lock.release()
        raise
    lock.release()
    return None


def _make(folder: Path, signer: Signer, moment: float) -> State:
    """Build a chain beside its place and move it there, so that no half of one is ever seen."""
    building = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}")
    building.mkdir(parents=True, mode=0o700)
    lock = Lock(building)
    try:
        chain = Chain(secrets.token_hex(8), Link())
        path, size_bytes = begin_file(building, chain, signer.key_id, moment)
        head.write(building, chain.chain_id, chain.link, iso(moment), signer)
        try:
            building.rename(folder)
        except OSError as error:
            raise FileExistsError(f"{folder} was made by another process") from error
        _sync_folder(folder.parent)
    except BaseException:
        lock.release()
        raise
    return State(folder, chain, folder / path.name, size_bytes, 0, True, lock)


def _recover(folder: Path, verifier: Verifier, lock: Lock) -> State:
    """Find the last good line.

    Raises:
        BrokenChain: Lines are missing or altered that were safe on the disk.
    """
    for leftover in folder.glob(".*.jsonl.new"):
        leftover.unlink()
    try:
        known = head.read(folder, verifier)
    except HeadError as error:
        raise BrokenChain(str(error)) from error
    files = files_of(folder)
    if not files:
        raise BrokenChain("Its files were deleted.")
    return _walk(folder, files[-1], known, lock)


def _walk(folder: Path, path: Path, known: Head, lock: Lock) -> State:
    follower = Follower(known.chain_id)
    good_bytes, kind, reached, line = 0, None, False, b""
    try:
        for line in _whole_lines(path):
            if kind is None:
                # The file may have been begun when the head was still at the end of the one before.
                reached = known.link == Link(_number(path) - 1, str(parse(line).get("prev")))
            kind = follower.follow(line)
            good_bytes += len(line) + 1
            reached = reached or follower.link == known.link
            if kind is Kind.CLOSE:
                break
    except BadLine as error:
        if not reached:
            raise BrokenChain(f"{path.name}: a line {error}.") from error
    if not reached:
        raise BrokenChain(f"{path.name} does not hold line {known.link.seq}, which was safe on the disk.")
    cut_bytes = path.stat().st_size - good_bytes
    closed = kind is Kind.CLOSE
    if closed and cut_bytes:
        raise BrokenChain(f"{path.name} goes on behind its closing record.")
    chain = Chain(known.chain_id, follower.link)
    clean = closed and parse(line).get("end") is True
    return State(folder, chain, None if closed else path, good_bytes, cut_bytes, clean, lock)


def _number(path: Path) -> int:
    number = first_seq(path)
    if number is None:
        raise BrokenChain(f"{path.name} is not a file of a chain.")
    return number


def _whole_lines(path: Path) -> Iterator[bytes]:
    return (line[:-1] for line in lines(path) if line.endswith(b"\n"))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
