"""A trace: requests with their times, from a file or made up (``traffic``)."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import accumulate, pairwise
from pathlib import Path

_OWN = ("at_s", "model", "prompt_tokens", "output_tokens")
_SESSIONS = ("session", "pause_s")
"""May follow them: a request with a pause comes so long after the answer to its session's previous one."""

_AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
"""Columns of Azure's public LLM inference traces (2023 and 2024)."""


class TraceError(Exception):
    """A file that is not a trace."""


@dataclass(slots=True)
class Request:
    """One request, and what became of it.

    Attributes:
        at: When it comes, seconds from the trace's start; of one that follows another, once that has ended.
        model: Which it asks for.
        prompt_tokens: Length of its prompt.
        output_tokens: Length of its answer; 1 for an embedding.
        pause_s: After the end of the request that it follows; unused otherwise.
        then: What follows it in its session.
        routed_at: When a replica got it; None: never.
        first_token_at: When its answer began; None: never.
    """

    at: float
    model: str
    prompt_tokens: int
    output_tokens: int
    pause_s: float = 0.0
    then: Request | None = None
    routed_at: float | None = None
    first_token_at: float | None = None


Trace = Sequence[Request]
"""The first request of each session, in the order of time; a request without a session is one of its own."""


def flat(trace: Trace) -> Iterator[Request]:
    """All requests, those that follow others included."""
    for first in trace:
        request: Request | None = first
        while request is not None:
            yield request
            request = request.then


def fresh(trace: Trace) -> list[Request]:
    """A copy to which nothing has happened."""
    return [_fresh(first) for first in trace]


def _fresh(first: Request) -> Request:
    chain = [replace(one, routed_at=None, first_token_at=None) for one in flat([first])]
    for one, following in pairwise(chain):
        one.then = following
    return chain[0]


def zipf_weights(count: int, exponent: float) -> list[float]:
    """Popularity by rank: the k-th has 1 / k^exponent, all of them 1 together."""
    raw = [1 / rank**exponent for rank in range(1, count + 1)]
    return [each / sum(raw) for each in raw]


def read(path: Path, models: Sequence[str], exponent: float, seed: int) -> Trace:
    """A trace from a CSV file: our own columns, or those of Azure's public traces.

    Args:
        path: The file. Azure's columns may be followed by ``Model``.
        models: The models, most popular first. A request that names none gets one drawn by Zipf's law.
        exponent: Of that law.
        seed: Of the draw.

    Raises:
        TraceError: For other columns, unreadable values or an unknown model, with the line.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns = set(reader.fieldnames or ())
        if not columns.issuperset(_OWN) and not columns.issuperset(_AZURE):
            raise TraceError(f"{path}: the columns must be {', '.join(_OWN)} or {', '.join(_AZURE)}")
        own = columns.issuperset(_OWN)
        rng = random.Random(seed)  # noqa: S311
        cumulative = list(accumulate(zipf_weights(len(models), exponent)))
        requests = []
        for row in reader:
            try:
                request = _own(row) if own else _azure(row)
            except (TypeError, ValueError) as error:
                raise TraceError(f"{path}, line {reader.line_num}: {error}") from error
            request.model = request.model or rng.choices(models, cum_weights=cumulative)[0]
            if request.model not in models:
                raise TraceError(
                    f"{path}, line {reader.line_num}: no model {request.model!r} in the scenario"
                )
            requests.append((row.get("session") or "", bool(row.get("pause_s")), request))
    sessions = _sessions(requests)
    start = sessions[0].at if sessions and not own else 0.0
    for first in sessions:
        first.at -= start
    return sessions


def _sessions(rows: Iterable[tuple[str, bool, Request]]) -> list[Request]:
    """The first request of each session, from rows of session, whether it follows another, and request."""
    first: list[Request] = []
    latest: dict[str, Request] = {}
    for session, follows, request in rows:
        if follows and session in latest:
            latest[session].then = request
        else:
            first.append(request)
        latest[session] = request
    return sorted(first, key=lambda request: request.at)


def write(path: Path, trace: Trace) -> None:
    """A trace as a CSV file with our own columns."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow((*_OWN, *_SESSIONS))
        for session, first in enumerate(trace):
            for one in flat([first]):
                at, pause = (f"{one.at:.3f}", "") if one is first else ("0", f"{one.pause_s:.3f}")
                writer.writerow((at, one.model, one.prompt_tokens, one.output_tokens, session, pause))


def _own(row: dict[str, str]) -> Request:
    output = max(1, int(row["output_tokens"]))
    pause_s = float(row.get("pause_s") or 0)
    return Request(float(row["at_s"]), row["model"], int(row["prompt_tokens"]), output, pause_s)


def _azure(row: dict[str, str]) -> Request:
    at = datetime.fromisoformat(row["TIMESTAMP"]).timestamp()
    model = row.get("Model") or ""
    return Request(at, model, int(row["ContextTokens"]), max(1, int(row["GeneratedTokens"])))
