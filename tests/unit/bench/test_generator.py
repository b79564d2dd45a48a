"""The load generator, in its own process, against a real server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from bench.endpoint import Endpoint
from bench.generator import LoadFailed, generator
from tests.unit.bench.tiny import Server

_TOKENS = 4


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that runs beside the test."""
    own = asyncio.new_event_loop()
    thread = threading.Thread(target=own.run_forever)
    thread.start()
    yield own
    own.call_soon_threadsafe(own.stop)
    thread.join(10)
    own.close()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def endpoint(server: Server, loop: asyncio.AbstractEventLoop) -> Iterator[Endpoint]:
    listening = asyncio.run_coroutine_threadsafe(server.listen(0), loop).result(10)
    yield Endpoint(listening.sockets[0].getsockname()[1], "secret", "m")
    loop.call_soon_threadsafe(listening.close)


def test_every_client_asks_once_where_no_time_is_given(server: Server, endpoint: Endpoint) -> None:
    with generator(endpoint, 3, _TOKENS, seconds=0, most_requests=100) as ready:
        ready.go()
        report = ready.report()

    assert (report.requests, report.tokens) == (3, 3 * _TOKENS)
    assert server.most_at_once == 3
    assert b"Authorization: Bearer secret" in server.requests[0]
    assert report.wall_s >= report.ttft_p50_s > 0
    assert report.itl_p50_s > 0.005, "tokens come 10 ms apart"


def test_clients_ask_again_until_the_requests_are_made(endpoint: Endpoint) -> None:
    with generator(endpoint, 2, _TOKENS, seconds=60, most_requests=7) as ready:
        ready.go()
        assert ready.report().requests == 7


def test_nothing_is_asked_before_the_word_is_given(server: Server, endpoint: Endpoint) -> None:
    with generator(endpoint, 1, _TOKENS, seconds=0, most_requests=1):
        assert server.requests == []


def test_answers_that_are_too_short_are_counted_apart(server: Server, endpoint: Endpoint) -> None:
    server.missing, server.faulty = 1, 2

    with generator(endpoint, 5, _TOKENS, seconds=0, most_requests=5) as ready:
        ready.go()
        report = ready.report()

    assert (report.requests, report.failed, report.tokens) == (3, 2, 3 * _TOKENS)
    assert "3 tokens instead of 4" in report.failure


def test_load_fails_where_no_answer_is_whole(server: Server, endpoint: Endpoint) -> None:
    server.missing = 1

    with generator(endpoint, 1, _TOKENS, seconds=0, most_requests=1) as ready:
        ready.go()
        with pytest.raises(LoadFailed, match="3 tokens instead of 4"):
            ready.report()


def test_nobody_listening_fails_the_load() -> None:
    nowhere = Endpoint(1, "-", "m")

    with generator(nowhere, 1, _TOKENS, seconds=0, most_requests=1) as ready, pytest.raises(LoadFailed):
        ready.go()
