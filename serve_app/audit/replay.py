"""Usage out of the records, to make up for what a crash has kept from the usage table.

A replica adds usage up in memory and sends it in flushes, one after the other; the table counts each id
once. Before a flush is sent, a mark with its id goes into the chain, behind the records that it adds up and
before all later ones. So a chain that is taken up says what may be missing: the flush of its last mark, which
may or may not have arrived and is made again under its id, and what the records behind that mark used, which
was in none. The same holds for a replica that ended well while the table was away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from serve_app.audit.chain import Kind, parse
from serve_app.audit.reader import entries, lines, place_behind
from serve_app.audit.segment import files_of
from serve_app.store.usage import HOUR_S, UsageRow

_Key = tuple[int, str, str, str, str, str]
_Sums = dict[_Key, list[int]]
_MARK: Final = f'","kind":"{Kind.USAGE}","'.encode()
_PREFIX_BYTES: Final = 256
"""A line's kind is told within these; a quotation mark inside a later field would have a backslash."""


@dataclass(frozen=True, slots=True)
class Unsettled:
    """Usage that the usage table may not have.

    Attributes:
        flush_id: Of the last flush; empty where there was none.
        flushed_at: When it was made, seconds since 1970.
        flush: Its rows.
        rest: Used since then, added up by hour, caller, key, model and task.
    """

    flush_id: str = ""
    flushed_at: float = 0
    flush: tuple[UsageRow, ...] = ()
    rest: tuple[UsageRow, ...] = ()


def unsettled(folder: Path, chain_id: str, upto: int) -> Unsettled:
    """What the usage table may not have of what a chain's requests used.

    Args:
        folder: Of the chain.
        chain_id: Its id.
        upto: Number of its last line that is safe on the disk.

    Raises:
        ChainUnreadable: The chain is broken; ``qwen-serve audit verify`` says where.
        BadLine: The same.
        OSError: A file cannot be read.
    """
    marks = _last_marks(folder)
    last = int(marks[-1]["seq"]) if marks else -1
    begin = int(marks[-2]["seq"]) if len(marks) > 1 else -1
    flush: _Sums = {}
    rest: _Sums = {}
    for entry in entries(folder, chain_id, upto, place_behind(folder, begin)):
        seq = entry.behind.link.seq
        if entry.kind is Kind.RECORD and seq > begin:
            _add(entry.said, flush if seq < last else rest)
    if not marks:
        return Unsettled(rest=_rows(rest))
    return Unsettled(str(marks[-1]["flush"]), _moment(marks[-1]), _rows(flush), _rows(rest))


def _last_marks(folder: Path) -> list[dict[str, Any]]:
    """The last two marks of a chain, as far as there are so many."""
    found: list[dict[str, Any]] = []
    for path in reversed(files_of(folder)):
        found = [*_marks(path), *found][-2:]
        if len(found) == 2:
            break
    return found


def _marks(path: Path) -> Iterator[dict[str, Any]]:
    return (parse(line) for line in lines(path) if _MARK in line[:_PREFIX_BYTES])


def _add(said: dict[str, Any], sums: _Sums) -> None:
    tokens = (int(said["input_tokens"]), int(said["output_tokens"]))
    if not any(tokens):
        return  # it never reached an engine
    counts = sums.setdefault(_key(said), [0, 0, 0])
    for index, amount in enumerate((1, *tokens)):
        counts[index] += amount


def _key(said: dict[str, Any]) -> _Key:
    names = (said.get(name, "") for name in ("tenant", "user_id", "key_id", "model", "task"))
    tenant, user_id, key_id, model, task = (str(name) for name in names)
    return int(_moment(said)) // HOUR_S * HOUR_S, tenant, user_id, key_id, model, task


def _rows(sums: _Sums) -> tuple[UsageRow, ...]:
    return tuple(UsageRow(*key, *counts) for key, counts in sorted(sums.items()))


def _moment(said: dict[str, Any]) -> float:
    return datetime.fromisoformat(said["timestamp"]).timestamp()
