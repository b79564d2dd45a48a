"""Tampering of every kind, in every place, is found where it is."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from serve_app.audit import head
from serve_app.audit.chain import Chain, Follower, Kind, Link, parse
from serve_app.audit.segment import files_of
from serve_app.audit.signing import Signer, Verifier
from serve_app.audit.verify import Report, verify
from serve_app.audit.writer import ChainWriter
from tests.unit.serve_app.audit.conftest import NOON, SIGNER, Open, check, numbered, put

FOLDER = "host.0"


@pytest.fixture
def chain(tmp_path: Path, open_writer: Open) -> Path:
    """A closed chain of three files and the begin of a fourth, all of it signed for."""
    writer = open_writer(4096)
    put(writer, 23)
    writer.commit()
    writer.abandon()
    folder = tmp_path / "audit" / FOLDER
    assert len(files_of(folder)) == 4
    return folder


def lines_of(folder: Path) -> list[tuple[Path, int]]:
    """Every line: its file and its number there."""
    return [
        (path, number)
        for path in files_of(folder)
        for number in range(1, len(path.read_bytes().splitlines()) + 1)
    ]


def rewrite(path: Path, change: Callable[[list[bytes]], None]) -> None:
    """Change the lines of a file."""
    lines = path.read_bytes().splitlines(keepends=True)
    change(lines)
    path.write_bytes(b"".join(lines))


def place(report: Report) -> tuple[str, int]:
    """The file and line that a report names."""
    assert report.problem is not None
    return report.problem.file.name, report.problem.line


def test_untouched_chain_is_good(chain: Path) -> None:
    report = check(chain.parent)
    assert report.problem is None
    assert (report.records, report.files, report.unsigned, report.recovered) == (23, 4, 0, 0)
    assert check(chain).link == report.link


def test_any_single_byte_that_is_edited_is_found_in_its_line(chain: Path) -> None:
    rng = random.Random(5)  # noqa: S311
    for path in [*files_of(chain), chain / head.FILE_NAME]:
        content = path.read_bytes()
        for offset in rng.sample(range(len(content)), 250):
            other = bytes([content[offset] ^ rng.choice((1, 2, 4, 8, 16, 32, 64, 128))])
            path.write_bytes(content[:offset] + other + content[offset + 1 :])
            report = check(chain)
            line = content[:offset].count(b"\n") + 1
            expected = line if path.suffix == ".jsonl" else 0
            assert place(report) == (path.name, expected), (offset, content[offset : offset + 1], other)
        path.write_bytes(content)


def test_deleted_line_is_found_where_it_was(chain: Path) -> None:
    everything = lines_of(chain)
    for path, number in everything:
        content = path.read_bytes()
        rewrite(path, lambda lines, number=number: lines.pop(number - 1))  # type: ignore[misc]
        assert place(check(chain)) == (path.name, number)
        path.write_bytes(content)
    assert len(everything) == 23 + 4 + 3


def test_lines_that_changed_places_are_found(chain: Path) -> None:
    for path, number in lines_of(chain):
        content = path.read_bytes()
        lines = content.splitlines(keepends=True)
        if number == len(lines):
            continue
        lines[number - 1], lines[number] = lines[number], lines[number - 1]
        path.write_bytes(b"".join(lines))
        assert place(check(chain)) == (path.name, number)
        path.write_bytes(content)


def test_inserted_line_is_found(chain: Path) -> None:
    for path, number in lines_of(chain):
        content = path.read_bytes()
        lines = content.splitlines(keepends=True)
        for forged in (lines[number - 1], b'{"seq":1}\n', b"\n"):
            path.write_bytes(b"".join([*lines[:number], forged, *lines[number:]]))
            assert place(check(chain)) == (path.name, number + 1)
        path.write_bytes(content)


def test_inserted_line_that_is_well_made_is_given_away_by_the_one_behind(chain: Path) -> None:
    for path in files_of(chain):
        content = path.read_bytes()
        lines = content.splitlines(keepends=True)
        for number in range(1, len(lines)):
            before = parse(lines[number - 1])
            link = Link(int(before["seq"]), str(before["hash"]))
            forger = Chain(str(before["id"]).rpartition("-")[0], link)
            forged = forger.line(Kind.RECORD, numbered(99).to_fields())
            path.write_bytes(b"".join([*lines[:number], forged, *lines[number:]]))
            name, line = place(check(chain))
            # In front of the last signed line, the head tells it a line earlier.
            assert (name, line) in {(path.name, number + 1), (path.name, number + 2)}
        path.write_bytes(content)


def test_line_forged_behind_the_signed_end_is_told_as_unsigned(chain: Path) -> None:
    last = files_of(chain)[-1]
    end = parse(last.read_bytes().splitlines()[-1])
    forger = Chain(str(end["id"]).rpartition("-")[0], Link(int(end["seq"]), str(end["hash"])))
    with last.open("ab") as file:
        file.write(forger.line(Kind.RECORD, numbered(99).to_fields()))
    report = check(chain)
    assert (report.problem, report.unsigned) == (None, 1)


def test_file_that_is_cut_short_anywhere_is_found(chain: Path) -> None:
    rng = random.Random(6)  # noqa: S311
    for path in files_of(chain):
        content = path.read_bytes()
        for length in [0, len(content) - 1, *rng.sample(range(len(content)), 60)]:
            path.write_bytes(content[:length])
            name, line = place(check(chain))
            # A cut at the end of a line leaves all lines good: the next is missing.
            assert (name, line) == (path.name, content[:length].count(b"\n") + 1)
        path.write_bytes(content)


def test_deleted_file_is_found(chain: Path) -> None:
    paths = files_of(chain)
    for index, path in enumerate(paths):
        content = path.read_bytes()
        path.unlink()
        last = index == len(paths) - 1
        expected = paths[index - 1] if last else paths[index + 1]
        report = check(chain)
        assert place(report)[0] == expected.name
        if not last:
            assert place(report)[1] == 1
        path.write_bytes(content)


def test_all_files_deleted_are_found(chain: Path) -> None:
    for path in files_of(chain):
        path.unlink()
    assert "its end was deleted" in str(check(chain.parent).problem)


def test_renamed_and_exchanged_files_are_found(chain: Path) -> None:
    first, second, *_ = files_of(chain)
    a, b = first.read_bytes(), second.read_bytes()
    first.write_bytes(b)
    second.write_bytes(a)
    assert place(check(chain)) == (first.name, 1)
    first.write_bytes(a)
    second.write_bytes(b)
    second.rename(chain / "0000000000000001-2026-11-24.jsonl")
    assert place(check(chain)) == ("0000000000000001-2026-11-24.jsonl", 1)


def test_file_rewritten_from_a_line_to_its_end_fails_at_the_signature(chain: Path) -> None:
    path = files_of(chain)[1]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(_forged(lines)))
    report = check(chain)
    assert place(report) == (path.name, len(lines))
    assert "signature" in str(report.problem)


def test_rewritten_last_file_fails_at_the_head(chain: Path) -> None:
    path = files_of(chain)[-1]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(_forged(lines)))
    report = check(chain)
    assert place(report) == (path.name, len(lines))
    assert "signed for" in str(report.problem)


def _forged(lines: list[bytes]) -> list[bytes]:
    """The same lines with another user in the second, and all hashes made anew."""
    opening = parse(lines[0])
    follower = Follower()
    follower.link = Link(int(opening["seq"]) - 1, str(opening["prev"]))
    follower.chain_id = str(opening["id"]).rpartition("-")[0]
    follower.follow(lines[0][:-1])
    chain = Chain(follower.chain_id, follower.link)
    made = [lines[0]]
    for line in lines[1:]:
        said = parse(line)
        kind = Kind(said["kind"])
        fields = {k: v for k, v in said.items() if k not in ("id", "seq", "prev", "kind", "hash")}
        if "user_id" in fields:
            fields["user_id"] = "lisi"
        made.append(chain.line(kind, fields))
    return made


def test_deleted_head_is_found(chain: Path) -> None:
    (chain / head.FILE_NAME).unlink()
    assert place(check(chain)) == (head.FILE_NAME, 0)


def test_chain_signed_with_another_key_is_refused(chain: Path) -> None:
    stranger = Signer(Ed25519PrivateKey.generate())
    (report,) = verify(chain, stranger.verifier)
    assert place(report) == (head.FILE_NAME, 0)
    assert "not among the given ones" in str(report.problem)

    known = head.read(chain, SIGNER.verifier)
    head.write(chain, known.chain_id, known.link, "2026-11-24T12:00:00.000Z", stranger)
    assert place(check(chain)) == (head.FILE_NAME, 0)


def test_head_of_another_chain_is_refused(chain: Path) -> None:
    head.write(chain, "0" * 16, Link(3, "0" * 64), "2026-11-24T12:00:00.000Z", SIGNER)
    assert place(check(chain)) == (files_of(chain)[0].name, 1)


def test_old_copy_of_the_folder_is_found_by_a_known_line_only(
    tmp_path: Path, chain: Path, open_writer: Open
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(chain, copy)
    writer = open_writer()
    put(writer, 5, begin=100)
    writer.close()
    newest = check(chain).link

    assert check(copy).problem is None
    assert [report.problem for report in verify(chain, SIGNER.verifier, [newest])] == [None]
    reports = list(verify(copy, SIGNER.verifier, [newest]))
    assert "in no chain" in str(reports[-1].problem)


def test_chain_that_is_written_meanwhile_is_good(chain: Path, open_writer: Open) -> None:
    with (files_of(chain)[-1]).open("ab") as file:
        file.write(b'{"id":"half a li')
    report = check(chain)
    assert report.problem is None
    assert report.unfinished_bytes == 16


def test_endless_line_does_not_fill_the_memory(chain: Path) -> None:
    path = files_of(chain)[1]
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"x" * 9_000_000 + content[100:])
    assert place(check(chain)) == (path.name, 1)


def test_new_key_begins_a_chain_of_its_own_beside_the_old_one(tmp_path: Path, chain: Path) -> None:
    key = Ed25519PrivateKey.generate()
    writer = ChainWriter.open(chain.parent, "host", Signer(key), 1 << 20, lambda: NOON)
    put(writer, 2)
    writer.close()
    both = Verifier([*SIGNER.verifier.keys, key.public_key()])
    assert [(r.problem, r.records) for r in verify(chain.parent, both)] == [(None, 23), (None, 2)]
