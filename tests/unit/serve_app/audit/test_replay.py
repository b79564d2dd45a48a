"""Usage out of the records, from the last mark on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from serve_app.audit.chain import Kind
from serve_app.audit.reader import ChainUnreadable
from serve_app.audit.record import Outcome, UsageMark
from serve_app.audit.replay import Unsettled, unsettled
from serve_app.audit.segment import files_of
from serve_app.audit.writer import ChainWriter
from serve_app.store.usage import UsageRow
from tests.unit.serve_app.audit.conftest import NOON, RECORD, Open, put

HOUR = int(NOON)


def row(requests: int, hour: int = HOUR) -> UsageRow:
    return UsageRow(
        hour, "research", "zhangsan", "key_1", "qwen2.5-7b", "chat", requests, 100 * requests, 200 * requests
    )


def mark(writer: ChainWriter, flush_id: str) -> None:
    writer.write()
    writer.add(Kind.USAGE, UsageMark(NOON + 5, flush_id).to_fields())


def of(writer: ChainWriter) -> Unsettled:
    writer.commit()
    return unsettled(writer.folder, writer.chain_id, writer.safe_seq)


def test_records_add_up_by_hour_and_caller(open_writer: Open) -> None:
    writer = open_writer()
    for record in (
        RECORD,
        replace(RECORD, timestamp=NOON + 3599),
        replace(RECORD, timestamp=NOON + 3600),
        replace(RECORD, user_id="lisi", key_id="", input_tokens=7, output_tokens=0),
        replace(RECORD, outcome=Outcome.LIMITED, input_tokens=0, output_tokens=0),
    ):
        writer.add(Kind.RECORD, record.to_fields())
    left = of(writer)
    assert (left.flush_id, left.flush) == ("", ())
    assert set(left.rest) == {
        row(2),
        row(1, HOUR + 3600),
        UsageRow(HOUR, "research", "lisi", "", "qwen2.5-7b", "chat", 1, 7, 0),
    }
    writer.close()


@pytest.mark.parametrize("max_file_bytes", [4096, 1 << 20])
def test_last_flush_is_told_apart_from_what_came_later(open_writer: Open, max_file_bytes: int) -> None:
    writer = open_writer(max_file_bytes)
    for number in range(4):
        put(writer, 10 + number, begin=100 * number)
        mark(writer, f"flush-{number}")
    assert of(writer) == Unsettled("flush-3", NOON + 5, (row(13),), ())
    put(writer, 21)
    assert of(writer) == Unsettled("flush-3", NOON + 5, (row(13),), (row(21),))
    writer.close()
    assert (len(files_of(writer.folder)) > 3) is (max_file_bytes == 4096)


def test_first_flush_begins_with_the_chain(open_writer: Open) -> None:
    writer = open_writer()
    put(writer, 2)
    mark(writer, "flush-0")
    put(writer, 1, begin=2)
    assert of(writer) == Unsettled("flush-0", NOON + 5, (row(2),), (row(1),))
    writer.close()


def test_text_of_a_client_is_no_mark(open_writer: Open) -> None:
    writer = open_writer()
    writer.add(Kind.RECORD, replace(RECORD, request_id='","kind":"usage","').to_fields())
    assert of(writer) == Unsettled(rest=(row(1),))
    writer.close()


def test_chain_that_was_tampered_with_is_not_counted(open_writer: Open) -> None:
    writer = open_writer()
    put(writer, 3)
    writer.close()
    (path,) = files_of(writer.folder)
    path.write_bytes(path.read_bytes().replace(b'"output_tokens":200', b'"output_tokens":100'))
    with pytest.raises(ChainUnreadable):
        unsettled(writer.folder, writer.chain_id, writer.safe_seq)
