"""Finds any edit, deletion, insertion, truncation and reordering in a chain, and names the first bad line.

What is proven, given the public key from a trusted place: every line up to the head is what the writer
wrote, in its place, and none is missing. What is not: lines behind the head, those of the last interval of
a process that was killed, can be cut; they are counted as ``unsigned``. Who has an old copy of the whole
folder can put it back, and who has the private key can write anything: against both helps a copy that he
cannot reach (``shipping``), or a hash kept from it, which ``known`` takes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from serve_app.audit import head
from serve_app.audit.chain import CLOSE_PURPOSE, BadLine, Follower, Kind, Link, body_of, parse
from serve_app.audit.folder import chains_in
from serve_app.audit.head import Head, HeadError
from serve_app.audit.reader import lines
from serve_app.audit.segment import files_of, first_seq
from serve_app.audit.signing import Verifier


@dataclass(frozen=True, slots=True)
class Problem:
    """The first thing wrong with a chain.

    Attributes:
        file: Which file; the head and missing files have their names too.
        line: Which line of it, from 1 on; 0 where it is not a line.
        reason: What is wrong: a sentence without its end.
    """

    file: Path
    line: int
    reason: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else str(self.file)
        return f"{place}: {self.reason}"


@dataclass(slots=True)
class Report:
    """What was found in one chain.

    Attributes:
        folder: Where it is.
        chain_id: Its id; empty if its head cannot be read.
        files: How many were read.
        records: Requests, each aggregated record as one.
        link: The last good line.
        unsigned: Good lines behind the head, which can be cut without a trace.
        unfinished_bytes: Of a last line that is being written, or that a crash cut short.
        recovered: How often the chain was taken up after a crash.
        unrecorded: Requests that have no record because the disk did not take it, by the chain's own word.
        problem: What is wrong; None: nothing.
    """

    folder: Path
    chain_id: str = ""
    files: int = 0
    records: int = 0
    link: Link = field(default_factory=Link)
    unsigned: int = 0
    unfinished_bytes: int = 0
    recovered: int = 0
    unrecorded: int = 0
    problem: Problem | None = None


class _Found(Exception):
    """Ends the walk."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem


def verify(directory: Path, verifier: Verifier, known: Collection[Link] = ()) -> Iterator[Report]:
    """Check every chain of a directory, or the one that it is; a chain may be written meanwhile.

    Args:
        directory: As configured.
        verifier: The public keys, from a place that whoever writes the directory cannot change.
        known: Lines that must be there, such as some that were copied elsewhere in time. Chains are told
            apart by the hashes; each of these must be in one of them.

    Yields:
        One report for each chain, and if there are known lines in none, one for those.

    Raises:
        OSError: Something cannot be read.
    """
    missing = set(known)
    for folder in chains_in(directory):
        yield _Walk(folder, verifier, missing).report()
    if missing:
        link = min(missing, key=lambda each: each.seq)
        reason = f"line {link.seq} with the hash {link.hash} is in no chain: it was deleted or rewritten"
        yield Report(directory, problem=Problem(directory, 0, reason))


class _Walk:
    """Along one chain."""

    def __init__(self, folder: Path, verifier: Verifier, missing: set[Link]) -> None:
        self._verifier = verifier
        self._missing = missing
        self._report = Report(folder)
        self._line = 0

    def report(self) -> Report:
        report = self._report
        try:
            # The head first: the files may grow while they are read.
            known = self._head()
            report.chain_id = known.chain_id
            self._files(known)
        except _Found as found:
            report.problem = found.problem
        return report

    def _head(self) -> Head:
        try:
            return head.read(self._report.folder, self._verifier)
        except HeadError as error:
            path = self._report.folder / head.FILE_NAME
            raise _Found(Problem(path, 0, str(error).rstrip("."))) from error

    def _files(self, known: Head) -> None:
        report, follower = self._report, Follower(known.chain_id, Link())
        files = files_of(report.folder)
        for path in files:
            self._file(path, follower, known, is_last=path == files[-1])
            report.files += 1
        if follower.link.seq < known.link.seq:
            path = files[-1] if files else report.folder / head.FILE_NAME
            reason = (
                f"the chain ends at line {follower.link.seq}, but was safe on the disk up to line "
                f"{known.link.seq}: its end was deleted"
            )
            raise _Found(Problem(path, self._line + 1 if files else 0, reason))

    def _file(self, path: Path, follower: Follower, known: Head, *, is_last: bool) -> None:
        self._line, kind = 0, None
        for line in lines(path):
            if not line.endswith(b"\n") and is_last and follower.link.seq >= known.link.seq:
                # Behind the head: being written at this moment, or cut short by a crash.
                self._report.unfinished_bytes = len(line)
                return
            self._line += 1
            try:
                if not line.endswith(b"\n"):
                    raise BadLine("is cut short")
                if kind is Kind.CLOSE:
                    raise BadLine("is behind the closing record of its file")
                kind = self._follow(line[:-1], path, follower, first=kind is None)
            except BadLine as error:
                raise _Found(Problem(path, self._line, f"this line {error}")) from error
            self._count(kind, line[:-1], follower.link, known.link, path)
        if not is_last and kind is not Kind.CLOSE:
            reason = "the file ends without its closing record: its end was deleted"
            raise _Found(Problem(path, self._line + 1, reason))
        if is_last and kind is None:
            raise _Found(Problem(path, 1, "the file is empty: its lines were deleted"))

    def _follow(self, line: bytes, path: Path, follower: Follower, *, first: bool) -> Kind:
        kind = follower.follow(line)
        if first and first_seq(path) != follower.link.seq:
            raise BadLine(f"has number {follower.link.seq}, but the file's name says another: it was renamed")
        if first != (kind is Kind.OPEN):
            raise BadLine("opens no file" if first else "opens a file, but is in the middle of one")
        if kind is Kind.CLOSE:
            key_id = str(parse(line).get("key"))
            if key_id not in self._verifier.key_ids:
                raise BadLine(f"is signed with the key {key_id}, which is not among the given ones")
            if not self._verifier.holds(CLOSE_PURPOSE, key_id, body_of(line)):
                raise BadLine("has a signature that does not hold: the file was rewritten")
        return kind

    def _count(self, kind: Kind, line: bytes, link: Link, signed: Link, path: Path) -> None:
        report = self._report
        if link.seq == signed.seq and link != signed:
            reason = "this line, or one before it, was rewritten: it is not the one that was signed for"
            raise _Found(Problem(path, self._line, reason))
        report.link = link
        report.unsigned += link.seq > signed.seq
        self._missing.discard(link)
        match kind:
            case Kind.RECORD:
                report.records += 1
            case Kind.RECOVERED:
                report.recovered += 1
            case Kind.GAP:
                said = parse(line)
                report.unrecorded += int(said["refused"]) + int(said["dropped"])
            case _:
                pass
