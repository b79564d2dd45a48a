"""One streamed answer as it came from the socket: whether it is whole, and when its tokens arrived."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

_END = b"[DONE]"
_QUOTED_BYTES = 300


class NotWhole(Exception):
    """A stream that was refused, broke off, or has not the tokens that were asked for."""


@dataclass(frozen=True, slots=True)
class Stream:
    """When a stream's tokens arrived.

    Attributes:
        first_s: From the request to its first token, seconds.
        gaps_s: Between the following events that carry text, seconds. Events that came with one read of the
            socket arrived together: the gap between them is 0.
        tokens: By the usage that the stream itself reports.
    """

    first_s: float
    gaps_s: tuple[float, ...]
    tokens: int


def read(sent_s: float, reads: Sequence[tuple[float, bytes]], tokens: int) -> Stream:
    """Make sense of a response.

    Args:
        sent_s: When the request was written.
        reads: What each read of the socket brought, and when.
        tokens: As many as the answer must have.

    Raises:
        NotWhole: The answer is an error, ends early or is too short; with the end of what came.
    """
    raw = b"".join(data for _, data in reads)
    head, separator, _ = raw.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise NotWhole(f"the request was not answered with a stream: {raw[:_QUOTED_BYTES]!r}")
    ends = list(accumulate(len(data) for _, data in reads))
    events = list(_events(raw, len(head) + len(separator)))
    if not events or events[-1][1] != _END:
        raise NotWhole(f"a stream has no [DONE]: {raw[-_QUOTED_BYTES:]!r}")
    arrivals, made = [], 0
    for end, data in events[:-1]:
        chunk = json.loads(data)
        if _has_text(chunk):
            arrivals.append(reads[bisect_left(ends, end)][0])
        made = (chunk.get("usage") or {}).get("completion_tokens") or made
    if made != tokens or not arrivals:
        raise NotWhole(f"{made} tokens instead of {tokens}: {raw[-_QUOTED_BYTES:]!r}")
    return Stream(arrivals[0] - sent_s, tuple(later - former for former, later in pairwise(arrivals)), made)


def _has_text(chunk: dict[str, Any]) -> bool:
    """Whether an event carries tokens, unlike those that open a choice, close it or report the usage."""
    if "choices" not in chunk:
        raise NotWhole(f"an error within a stream: {json.dumps(chunk)[:_QUOTED_BYTES]}")
    deltas = [choice["delta"] for choice in chunk["choices"]]
    return any(delta.get("content") or delta.get("reasoning_content") for delta in deltas)


def _events(raw: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    """The data of each server-sent event, with the place in the response at which it was complete."""
    body, body_ends, raw_ends = _dechunked(raw, start)
    begin = 0
    while (end := body.find(b"\n\n", begin)) >= 0:
        event, begin = body[begin:end].strip(), end + 2
        if event.startswith(b"data:"):
            part = bisect_left(body_ends, begin)
            yield raw_ends[part] - (body_ends[part] - begin), event.removeprefix(b"data:").strip()


def _dechunked(raw: bytes, start: int) -> tuple[bytes, list[int], list[int]]:
    """The body of a chunked response, and where its chunks end: in the body, and in the response."""
    parts, body_ends, raw_ends, length, place = [], [], [], 0, start
    while (line := raw.find(b"\r\n", place)) >= 0:
        size = int(raw[place:line].partition(b";")[0], 16)
        if size == 0:
            break
        begin = line + 2
        parts.append(raw[begin : begin + size])
        length += len(parts[-1])
        body_ends.append(length)
        raw_ends.append(begin + size)
        place = begin + size + 2
    return b"".join(parts), body_ends, raw_ends
