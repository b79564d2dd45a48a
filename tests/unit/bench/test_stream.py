"""A response, cut into reads of the socket wherever it may be, is read for what it says and when."""

from __future__ import annotations

import json

import pytest

from bench.stream import NotWhole, read

_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
_DONE = b"data: [DONE]\n\n"


def _event(delta: dict[str, str]) -> bytes:
    return f"data: {json.dumps({'choices': [{'delta': delta}]})}\n\n".encode()


def _usage(tokens: int) -> bytes:
    return f"data: {json.dumps({'choices': [], 'usage': {'completion_tokens': tokens}})}\n\n".encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_ROLE = _event({"role": "assistant", "content": ""})
_TOKEN = _event({"content": " word"})


def test_first_token_and_gaps_are_timed_by_the_read_that_completes_each() -> None:
    reads = [
        (1.0, _HEAD + _chunk(_ROLE)),
        (1.5, _chunk(_TOKEN)),
        (1.7, _chunk(_TOKEN + _TOKEN)),
        (2.0, _chunk(_usage(3)) + _chunk(_DONE) + b"0\r\n\r\n"),
    ]

    stream = read(1.0, reads, 3)

    assert stream.first_s == pytest.approx(0.5), "the opening frame is no token"
    assert stream.gaps_s == pytest.approx((0.2, 0.0)), "what arrives together has no gap"
    assert stream.tokens == 3


def test_cut_anywhere_the_response_says_the_same() -> None:
    whole = _HEAD + b"".join(map(_chunk, (_ROLE, _TOKEN, _TOKEN, _usage(2), _DONE))) + b"0\r\n\r\n"
    end_of_first = whole.index(_TOKEN) + len(_TOKEN)

    for cut in range(1, len(whole)):
        stream = read(0.0, [(1.0, whole[:cut]), (2.0, whole[cut:])], 2)

        assert stream.first_s == (1.0 if cut >= end_of_first else 2.0)
        assert len(stream.gaps_s) == 1


def test_event_spread_over_chunks_is_one() -> None:
    parts = [_chunk(_TOKEN[:10]), _chunk(_TOKEN[10:] + _usage(1) + _DONE), b"0\r\n\r\n"]
    reads = [(1.0, _HEAD + parts[0]), (2.0, parts[1]), (3.0, parts[2])]

    assert read(0.0, reads, 1).first_s == 2.0


def test_comments_between_events_are_passed_over() -> None:
    body = _TOKEN + b": engine;dur=3\n\n" + _usage(1) + _DONE

    assert read(0.0, [(1.0, _HEAD + _chunk(body) + b"0\r\n\r\n")], 1).tokens == 1


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\nbusy", "busy"),
        (b"", "not answered"),
        (_HEAD + _chunk(_TOKEN), r"no \[DONE\]"),
        (_HEAD + _chunk(_TOKEN + _usage(1) + _DONE), "1 tokens instead of 2"),
        (_HEAD + _chunk(_TOKEN + b'data: {"error": {"message": "lost"}}\n\n' + _DONE), "lost"),
    ],
)
def test_stream_that_is_not_whole_is_told_apart(response: bytes, reason: str) -> None:
    with pytest.raises(NotWhole, match=reason):
        read(0.0, [(1.0, response)], 2)
