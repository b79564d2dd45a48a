"""A journal survives being cut anywhere."""

from pathlib import Path

from deployments.weights.journal import Journal, Record


def test_journal_tells_what_is_done(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.begin("s3://models/x", 100, 10)
    journal.part("a", (0, 10))
    journal.part("b", (0, 10))
    journal.whole("a", 15)
    journal.part("c", (0, 10))
    journal.again("c")
    journal.failed("no luck")
    record = Record.read(tmp_path / "journal")
    assert record is not None
    assert (record.done_bytes, record.failure) == (25, "no luck")
    again = journal.begin("s3://models/x", 100, 999)
    assert (again.part_bytes, again.failure, again.done_bytes) == (10, "", 25)


def test_every_cut_leaves_a_journal_that_can_be_read_and_continued(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    journal.begin("s3://models/x", 30, 10)
    for start in (0, 10, 20):
        journal.part("a", (start, start + 10))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        before = journal.begin("s3://models/x", 30, 10)
        assert before.done_bytes <= 30
        journal.part("b", (0, 1))
        after = Record.read(path)
        assert after is not None
        assert after.done_bytes == before.done_bytes + 1


def test_no_journal_and_nonsense_are_nothing(tmp_path: Path) -> None:
    assert Record.read(tmp_path / "none") is None
    (tmp_path / "journal").write_bytes(b'\x00\xff\n[1]\n{}\n["part", "a"]\n[]\n')
    assert Record.read(tmp_path / "journal") is None
