"""Writes one chain: files by size and day, each closed with a signed record, and the head."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from serve_app.audit import head
from serve_app.audit.chain import Kind, Link
from serve_app.audit.folder import State, begin_file, take
from serve_app.audit.record import iso
from serve_app.audit.segment import Segment
from serve_app.audit.signing import Signer


class ChainWriter:
    """The only writer of a chain. Belongs to one thread.

    What is added stays in memory until it is safe; whatever raises ``OSError`` is called again later and
    goes on where it was.

    Args:
        state: The chain, and the right to write it.
        signer: Signs closing records and heads.
        max_file_bytes: A file of this size is closed.
        clock: Seconds since 1970.

    Raises:
        OSError: The disk does not take it.
    """

    def __init__(self, state: State, signer: Signer, max_file_bytes: int, clock: Callable[[], float]) -> None:
        self._folder = state.folder
        self._chain = state.chain
        self._lock = state.lock
        self._signer = signer
        self._max_file_bytes = max_file_bytes
        self._clock = clock
        self._head = Link()
        self._closed_at: float | None = None
        path, size_bytes = state.file, state.size_bytes
        if path is None:
            path, size_bytes = begin_file(self._folder, self._chain, signer.key_id, clock())
        self._day = _day_of(path)
        self._segment = Segment(path, size_bytes)
        if not state.clean:
            self.add(Kind.RECOVERED, {"timestamp": iso(clock()), "cut_bytes": state.cut_bytes})
        self.commit()

    @classmethod
    def open(
        cls, directory: Path, owner: str, signer: Signer, max_file_bytes: int, clock: Callable[[], float]
    ) -> Self:
        """Write a chain that nobody writes, or a new one.

        Raises:
            OSError: The directory cannot be written.
        """
        state = take(directory, owner, signer, clock())
        try:
            return cls(state, signer, max_file_bytes, clock)
        except BaseException:
            state.lock.release()
            raise

    @property
    def folder(self) -> Path:
        """Of the chain."""
        return self._folder

    @property
    def chain_id(self) -> str:
        """Of the chain."""
        return self._chain.chain_id

    @property
    def safe_seq(self) -> int:
        """Number of the last line that the head covers."""
        return self._head.seq

    def add(self, kind: Kind, fields: Mapping[str, object]) -> None:
        """Take a line; touches no disk. Only after ``write`` or ``commit`` has returned.

        Raises:
            ValueError: A field holds what JSON cannot.
            TypeError: The same.
        """
        assert self._closed_at is None, "a file is being closed"
        self._segment.add(self._chain.line(kind, fields))

    def write(self) -> None:
        """Hand what was added to the operating system.

        Raises:
            OSError: It does not take it.
        """
        if self._closed_at is not None or self._is_over():
            self._rotate()
        self._segment.write()

    def commit(self) -> None:
        """Bring what was added to the disk, and the head after it.

        Raises:
            OSError: It did not get there.
        """
        self.write()
        self._secure()

    def close(self) -> None:
        """Close the chain as a process does that ends as it should.

        Raises:
            OSError: The disk does not take it; the chain is still open.
        """
        self.write()  # a file that is being closed already is not the end
        self._add_closing(end=True)
        self._secure()
        self.abandon()

    def abandon(self) -> None:
        """Let go of the chain as it is; whoever takes it up says that it was not closed."""
        self._segment.close()
        self._lock.release()

    def _is_over(self) -> bool:
        return self._segment.size_bytes >= self._max_file_bytes or iso(self._clock())[:10] != self._day

    def _rotate(self) -> None:
        moment = self._add_closing()
        self._secure()
        closing = self._chain.link
        # At the same moment however often it is tried: the name of a file says its day.
        path, size_bytes = begin_file(self._folder, self._chain, self._signer.key_id, moment)
        try:
            segment = Segment(path, size_bytes)
        except OSError:
            self._chain.link = closing
            raise
        self._segment.close()
        self._segment = segment
        self._day, self._closed_at = _day_of(path), None
        self._secure()

    def _add_closing(self, *, end: bool = False) -> float:
        """Close the file, if it is not closed yet; when that was.

        Args:
            end: The process ends as it should: otherwise a crash behind this line would go untold.
        """
        if self._closed_at is None:
            moment = self._clock()
            fields = {"timestamp": iso(moment), "end": end, "key": self._signer.key_id}
            self._segment.add(self._chain.line(Kind.CLOSE, fields, self._signer))
            self._closed_at = moment
        return self._closed_at

    def _secure(self) -> None:
        if not self._segment.is_safe:
            self._segment.sync()
        if self._head != self._chain.link:
            link = self._chain.link
            head.write(self._folder, self._chain.chain_id, link, iso(self._clock()), self._signer)
            self._head = link


def _day_of(path: Path) -> str:
    return path.stem.partition("-")[2]
