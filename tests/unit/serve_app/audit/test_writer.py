"""Files by size and day, and a chain taken up again after a crash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serve_app.audit import head
from serve_app.audit import writer as writing
from serve_app.audit.chain import Kind, Link, parse
from serve_app.audit.folder import Lock
from serve_app.audit.segment import files_of
from serve_app.audit.verify import verify
from serve_app.audit.writer import ChainWriter
from tests.unit.serve_app.audit.conftest import SIGNER, Clock, Open, check, put


def kinds(folder: Path) -> list[str]:
    return [parse(line)["kind"] for path in files_of(folder) for line in path.read_bytes().splitlines()]


def test_chain_that_is_closed_goes_on_in_the_next_file(tmp_path: Path, open_writer: Open) -> None:
    for begin in (0, 10):
        writer = open_writer()
        put(writer, 2, begin)
        writer.close()
    assert kinds(writer.folder) == ["open", "record", "record", "close"] * 2
    report = check(tmp_path / "audit")
    assert (report.problem, report.records, report.recovered, report.unsigned) == (None, 4, 0, 0)


def test_file_is_closed_by_size(tmp_path: Path, open_writer: Open) -> None:
    writer = open_writer(4096)
    put(writer, 100)
    writer.close()
    sizes = [path.stat().st_size for path in files_of(writer.folder)]
    assert len(sizes) > 10
    assert max(sizes) < 4096 + 2000
    assert check(tmp_path / "audit").records == 100


def test_file_is_closed_at_midnight_utc(tmp_path: Path, open_writer: Open, clock: Clock) -> None:
    writer = open_writer()
    clock.now += 86_400
    writer.commit()  # idle until then
    put(writer, 1)
    writer.commit()
    clock.now += 86_400
    put(writer, 1, begin=1)
    writer.close()
    days = [path.stem.partition("-")[2] for path in files_of(writer.folder)]
    assert days == ["2026-11-24", "2026-11-25", "2026-11-26"]
    assert check(tmp_path / "audit").problem is None


def test_crash_is_told_by_the_chain_and_a_torn_line_is_cut(tmp_path: Path, open_writer: Open) -> None:
    writer = open_writer()
    put(writer, 3)
    writer.commit()
    put(writer, 2, begin=3)
    writer.write()
    writer.abandon()
    (path,) = files_of(writer.folder)
    path.write_bytes(path.read_bytes()[:-40])

    again = open_writer()
    assert again.folder == writer.folder
    put(again, 1, begin=5)
    again.close()
    assert kinds(again.folder) == ["open", *["record"] * 4, "recovered", "record", "close"]
    recovered = parse(path.read_bytes().splitlines()[5])
    assert recovered["cut_bytes"] > 500
    report = check(tmp_path / "audit")
    assert (report.problem, report.records, report.recovered) == (None, 5, 1)


def test_garbage_behind_the_signed_end_is_cut(tmp_path: Path, open_writer: Open) -> None:
    writer = open_writer()
    put(writer, 3)
    writer.commit()
    writer.abandon()
    (path,) = files_of(writer.folder)
    with path.open("ab") as file:
        file.write(b"\0" * 4096 + b"\n" + b"\0" * 100)
    open_writer().close()
    report = check(tmp_path / "audit")
    assert (report.problem, report.records, report.recovered) == (None, 3, 1)


@pytest.mark.parametrize("harm", ["cut", "edit", "delete", "head", "all", "behind"])
def test_chain_that_was_tampered_with_stays_as_evidence_and_another_is_begun(
    tmp_path: Path, open_writer: Open, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    writer = open_writer()
    put(writer, 5)
    if harm == "behind":
        writer.close()
    else:
        writer.commit()
        writer.abandon()
    (path,) = files_of(writer.folder)
    content = path.read_bytes()
    match harm:
        case "cut":
            path.write_bytes(b"".join(content.splitlines(keepends=True)[:-1]))
        case "edit":
            path.write_bytes(content.replace(b"req-2", b"req-9"))
        case "delete":
            path.unlink()
        case "head":
            (writer.folder / head.FILE_NAME).unlink()
        case "all":
            path.unlink()
            (writer.folder / head.FILE_NAME).unlink()
        case _:
            path.write_bytes(content + b"{}\n")
    before = {each.name: each.read_bytes() for each in writer.folder.iterdir()}

    again = open_writer()
    assert again.folder != writer.folder
    assert again.chain_id != writer.chain_id
    assert {each.name: each.read_bytes() for each in writer.folder.iterdir()} == before
    assert "stays as it is" in caplog.text
    again.close()
    reports = list(verify(tmp_path / "audit", SIGNER.verifier))
    assert [report.problem is None for report in reports] == ([True] if harm == "all" else [False, True])


def test_crash_between_two_files_is_recovered(tmp_path: Path, open_writer: Open) -> None:
    writer = open_writer()
    put(writer, 3)
    writer.commit()
    writer._add_closing()
    writer._secure()
    writer.abandon()  # closed, and the next file not begun
    second = open_writer()
    old_head = (second.folder / head.FILE_NAME).read_bytes()
    second.abandon()
    third = open_writer()
    third.abandon()
    assert kinds(third.folder)[:7] == ["open", *["record"] * 3, "close", "open", "recovered"]

    # The next file begun, and the head still at the end of the one before.
    said = json.loads(old_head)
    first = files_of(third.folder)[0].read_bytes().splitlines()[-1]
    head.write(third.folder, said["chain"], _link(first), "2026-11-24T12:00:00.000Z", SIGNER)
    fourth = open_writer()
    fourth.close()
    assert fourth.folder == writer.folder
    assert check(tmp_path / "audit").problem is None


def _link(line: bytes) -> Link:
    said = parse(line)
    return Link(int(said["seq"]), str(said["hash"]))


def test_two_writers_have_a_chain_each(tmp_path: Path, open_writer: Open) -> None:
    first, second = open_writer(), open_writer()
    put(first, 2)
    put(second, 3)
    first.close()
    second.close()
    records = [report.records for report in verify(tmp_path / "audit", SIGNER.verifier)]
    assert records == [2, 3]
    assert open_writer().folder == first.folder


def test_chain_in_use_is_locked(open_writer: Open) -> None:
    writer = open_writer()
    with pytest.raises(BlockingIOError):
        Lock(writer.folder)
    writer.close()
    Lock(writer.folder).release()


def test_file_that_is_deleted_while_in_use_is_noticed(open_writer: Open) -> None:
    writer = open_writer()
    put(writer, 2)
    (path,) = files_of(writer.folder)
    path.unlink()
    with pytest.raises(OSError, match="deleted while in use"):
        writer.commit()


def test_what_cannot_be_json_is_refused_and_leaves_the_chain_good(tmp_path: Path, open_writer: Open) -> None:
    writer = open_writer()
    with pytest.raises(ValueError, match="JSON"):
        writer.add(Kind.RECORD, {"latency_ms": float("nan")})
    put(writer, 1)
    writer.add(Kind.RECORD, {"alias": "half a pair \ud83d"})
    writer.close()
    assert check(tmp_path / "audit").records == 2


def test_chain_of_a_machine_that_does_not_come_back_is_gone_on_with(
    tmp_path: Path, open_writer: Open, clock: Clock
) -> None:
    orphan = open_writer()
    put(orphan, 3)
    orphan.write()
    orphan.abandon()
    (tmp_path / "audit" / "lost+found").mkdir()
    successor = ChainWriter.open(tmp_path / "audit", "pod-2", SIGNER, 1 << 20, clock)
    successor.close()
    assert successor.folder == orphan.folder
    report = check(tmp_path / "audit")
    assert (report.problem, report.records, report.recovered, report.unsigned) == (None, 3, 1, 0)


@pytest.mark.parametrize("fails", ["begin_file", "Segment"])
def test_file_that_cannot_be_begun_is_begun_later_under_the_same_name(
    tmp_path: Path, open_writer: Open, clock: Clock, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    writer = open_writer()
    put(writer, 1)
    writer.commit()
    clock.now += 24 * 3600
    with monkeypatch.context() as broken:
        real = getattr(writing, fails)

        def begin_and_fail(*arguments: Any) -> None:
            if fails == "begin_file":
                real(*arguments)
                writer._chain.link = before
            raise OSError(28, "No space left on device")

        writer._add_closing()
        before = writer._chain.link
        broken.setattr(writing, fails, begin_and_fail)
        for _ in range(2):
            with pytest.raises(OSError, match="No space"):
                writer.write()
            clock.now += 24 * 3600
    put(writer, 1, begin=1)
    writer.close()
    report = check(tmp_path / "audit")
    assert (report.problem, report.records) == (None, 2)
