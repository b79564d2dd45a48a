"""What every peer is to the measurement: something that can be started, asked, accounted for and ended."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.endpoint import Endpoint
from cluster.local import ray_node

START_BOUND_S = 300.0
_POLL_S = 0.25
_ASK_BOUND_S = 60.0
_FIRST_PORT = 18000
_PORTS = 10_000


class PeerFailed(Exception):
    """A peer does not start: its name, what is wrong, and the end of its log."""


@dataclass(frozen=True, slots=True)
class Running:
    """A peer that answers.

    Attributes:
        endpoint: Where.
        session: The mark of its processes (`cluster.local.processes.MARK`).
        command: How it was started.
        behind: The sessions of other peers that it needs to answer.
    """

    endpoint: Endpoint
    session: str
    command: str
    behind: tuple[str, ...] = ()


class Peer(Protocol):
    """One row of the table."""

    @property
    def name(self) -> str:
        """As the table shows it."""

    @property
    def counted(self) -> str:
        """Which processes its CPU and its memory are taken from."""

    def running(self, folder: Path) -> AbstractContextManager[Running]:
        """Start it, wait until it answers, and end all its processes at the end.

        Args:
            folder: For its files; it exists, and nobody else may enter it.

        Raises:
            PeerFailed: It does not answer in time.
        """


def free_port() -> int:
    """A port that nobody uses now; runs at the same time look for it in different places."""
    return ray_node.free_ports(_FIRST_PORT + os.getpid() % _PORTS)[0]


def await_answer(name: str, endpoint: Endpoint, alive: Callable[[], bool], log: Path) -> None:
    """Wait until an endpoint answers a request for a single token.

    Args:
        name: Of the peer.
        endpoint: To ask.
        alive: Whether it is worth waiting.
        log: What the peer has said.

    Raises:
        PeerFailed: It has ended, or five minutes have passed.
    """
    deadline = time.monotonic() + START_BOUND_S
    while not _answers(endpoint):
        if not alive():
            raise PeerFailed(f"{name} has ended while it was starting:\n{_last_words(log)}")
        if time.monotonic() >= deadline:
            raise PeerFailed(f"{name} does not answer after {START_BOUND_S:.0f} s:\n{_last_words(log)}")
        time.sleep(_POLL_S)


def _answers(endpoint: Endpoint) -> bool:
    request = urllib.request.Request(  # noqa: S310  (http, composed here)
        f"{endpoint.base_url}/chat/completions",
        data=endpoint.body(1),
        headers={"authorization": f"Bearer {endpoint.token}", "content-type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_ASK_BOUND_S) as answer:
            return b"[DONE]" in answer.read()
    except (OSError, urllib.error.HTTPError):
        return False


def _last_words(log: Path, lines: int = 15) -> str:
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    except OSError:
        return "(it has said nothing)"
