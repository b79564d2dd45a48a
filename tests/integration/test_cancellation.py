"""A client that goes away frees its place in the engine within a second.

The engine of demo-chat runs 32 sequences at once (`max_num_seqs`). The tests fill it with clients that want
long answers, see that one more has to wait, let all of them go, and see that the one gets its answer.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.integration.conftest import Application
from tests.machine import slowness

pytestmark = pytest.mark.integration

SLOTS = 32
FREE_WITHIN_S = 1.0
FULL_WITHIN_S = 120.0
"""Until all long requests have reached the engine."""
BLOCKED_S = 0.5
"""A short answer that takes longer waits for a place; it takes some 50 ms otherwise."""

LONG: dict[str, Any] = {"max_tokens": 900, "ignore_eos": True, "temperature": 0}
SIXTEEN_LONG = {**LONG, "temperature": 1, "n": 16}
SHORT: dict[str, Any] = {"max_tokens": 1, "temperature": 0}


class Clients:
    """Connections with one request each, written by hand: closing one is all that a client does."""

    def __init__(self, application: Application, held: ExitStack) -> None:
        where = urlsplit(application.url)
        self._address = (where.hostname or "", where.port or 80)
        self._token = application.token
        self._held = held

    def ask(self, *headers: str, **options: Any) -> socket.socket:
        """Send a request and wait for nothing."""
        messages = [{"role": "user", "content": "Tell me a short story."}]
        body = json.dumps({"model": "demo-chat", "messages": messages, **options}).encode()
        head = [
            "POST /v1/chat/completions HTTP/1.1",
            "Host: test",
            "Content-Type: application/json",
            f"Authorization: Bearer {self._token}",
            f"Content-Length: {len(body)}",
            *headers,
        ]
        connection = self._held.enter_context(socket.create_connection(self._address, timeout=120))
        connection.sendall("\r\n".join([*head, "", ""]).encode() + body)
        return connection

    def ask_until_one_waits(self) -> socket.socket:
        """A short request that waits because the engine is full."""
        deadline = time.monotonic() + FULL_WITHIN_S
        while time.monotonic() < deadline:
            probe = self.ask(**SHORT)
            if not answered(probe, BLOCKED_S):
                return probe
            probe.close()
        pytest.fail(f"{SLOTS} long requests do not fill the engine within {FULL_WITHIN_S} s")


def answered(connection: socket.socket, within_s: float = 0) -> bool:
    readable, _, _ = select.select([connection], [], [], within_s)
    return bool(readable)


def ended(connection: socket.socket) -> bool:
    """Whether the whole answer is there; takes what has come of it."""
    connection.setblocking(False)
    received = b""
    try:
        while chunk := connection.recv(1 << 20):
            received += chunk
    except BlockingIOError:
        pass
    return b"[DONE]" in received or b'"finish_reason":"length"' in received


@pytest.fixture
def clients(application: Application) -> Iterator[Clients]:
    with ExitStack() as held:
        yield Clients(application, held)


@pytest.mark.parametrize("header", ["X-Nothing: 0", "X-Request-Disconnect-Disabled: ?1"])
@pytest.mark.parametrize("stream", [False, True])
def test_place_of_a_client_that_goes_away_is_free_within_a_second(
    clients: Clients, stream: bool, header: str
) -> None:
    slow = slowness()
    long = [clients.ask(header, stream=stream, **LONG) for _ in range(SLOTS)]
    if stream:
        assert all(answered(one, FULL_WITHIN_S) for one in long), "each has begun"
    probe = clients.ask_until_one_waits()
    assert not any(ended(one) for one in long), "they would have gone anyway"

    for one in long:
        one.close()
    assert answered(probe, FREE_WITHIN_S * slow)
    assert probe.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize("stream", [False, True])
def test_client_that_goes_away_while_it_waits_is_never_served(clients: Clients, stream: bool) -> None:
    slow = slowness()
    running = [clients.ask(**LONG) for _ in range(SLOTS)]
    clients.ask_until_one_waits().close()
    waiting = [clients.ask(stream=stream, **SIXTEEN_LONG) for _ in range(SLOTS // 16)]
    clients.ask_until_one_waits().close()  # By now they stand in the engine's queue, in front of the probe.
    probe = clients.ask_until_one_waits()
    assert not any(answered(one) for one in waiting), "nothing has been sent to them"

    for one in waiting:
        one.close()
    for one in running:
        one.close()
    # The engine serves in order: they would take every place for seconds.
    assert answered(probe, FREE_WITHIN_S * slow)
    assert probe.recv(12) == b"HTTP/1.1 200"
