"""Processes that die in mid-stream: a client gets the whole answer or is told that it has not."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from cluster.local import processes, session
from tests.integration.conftest import Application

pytestmark = pytest.mark.integration

STREAMS = 8
_PIDFD_GETFD = 438
"""The number of Linux's system call on every architecture; Python has no name for it."""
BACK_WITHIN_S = 600
BEGUN_WITHIN_S = 180
LONG = {
    "model": "demo-chat",
    "messages": [{"role": "user", "content": "Tell me a short story."}],
    "temperature": 0,
    "max_tokens": 900,
    "ignore_eos": True,
    "stream": True,
}


@pytest.fixture
def state(application: Application, http: httpx.Client) -> Path:
    if application.state is None:
        pytest.skip("the application was started by hand (QWEN_SERVE_TEST_URL); nothing of it is killed")
    return application.state


def replicas(state: Path, replica: str) -> set[int]:
    """Process ids of a deployment's replicas."""
    current = session.recorded(state)
    assert current
    found = set()
    for process in processes.find(current.id):
        title = Path(f"/proc/{process.pid}/cmdline")
        # Ray appends the method that a busy replica runs.
        with contextlib.suppress(OSError):
            if re.search(rf"ServeReplica:.*:{replica}(?![\w:-])", title.read_bytes().decode()):
                found.add(process.pid)
    return found


def wait_until_ready(application: Application, state: Path, replica: str, dead: frozenset[int]) -> None:
    """Until a new replica has taken the place of the dead, and everything is ready."""
    deadline = time.monotonic() + BACK_WITHIN_S
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            ready = httpx.get(f"{application.url}/ready", timeout=15).status_code == 200
            if ready and replicas(state, replica) - dead:
                return
        time.sleep(0.5)  # between two looks
    pytest.fail(f"not ready again within {BACK_WITHIN_S} s")


def stream(application: Application, begun: threading.Barrier) -> str:
    """How one long stream ends: whole, told, or broken."""
    headers = {"authorization": f"Bearer {application.token}"}
    text, waiting = "", True
    try:
        with httpx.stream(
            "POST",
            f"{application.url}/v1/chat/completions",
            json=LONG,
            headers=headers,
            timeout=BEGUN_WITHIN_S,
        ) as response:
            if response.status_code != 200:
                return "told"
            for chunk in response.iter_text():
                text += chunk
                if waiting:
                    waiting = False
                    begun.wait(BEGUN_WITHIN_S)
    except httpx.HTTPError:
        return "broken"
    events = [line.removeprefix("data: ") for line in text.split("\n\n") if line.startswith("data: ")]
    if not events or events[-1] != "[DONE]":
        return "silently short"
    if "error" in json.loads(events[-2]):
        return "told"
    finish = [json.loads(event)["choices"][0]["finish_reason"] for event in events[:-1]]
    return "whole" if finish[-1] == "length" else "silently short"


def ends_of_streams(application: Application, fault: Callable[[], None]) -> list[str]:
    """How long streams end that meet with a fault once each of them has begun."""
    begun = threading.Barrier(STREAMS + 1)
    with ThreadPoolExecutor(STREAMS) as pool:
        streams = [pool.submit(stream, application, begun) for _ in range(STREAMS)]
        begun.wait(BEGUN_WITHIN_S)
        fault()
        return [future.result() for future in streams]


def ends_of_streams_when_killed(application: Application, state: Path, replica: str) -> list[str]:
    """How long streams end whose replica is killed, as a crash would."""
    victims = frozenset(replicas(state, replica))
    assert len(victims) == 1

    def kill() -> None:
        for victim in victims:
            os.kill(victim, signal.SIGKILL)

    ends = ends_of_streams(application, kill)
    wait_until_ready(application, state, replica, victims)
    return ends


def break_channels(ingress: int, replica: int) -> int:
    """Shut every connection of the token channel between two processes, as a broken network would."""
    listens = {c.laddr.port for c in psutil.Process(ingress).net_connections("tcp") if c.status == "LISTEN"}
    outgoing = [
        c.fd
        for c in psutil.Process(replica).net_connections("tcp")
        if c.status == "ESTABLISHED" and c.raddr.port in listens
    ]
    process = os.pidfd_open(replica)
    for descriptor in outgoing:
        taken = ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, process, descriptor, 0)
        if taken < 0:
            pytest.skip(f"no right to reach into another process: {os.strerror(ctypes.get_errno())}")
        with socket.socket(fileno=taken) as connection:
            connection.shutdown(socket.SHUT_RDWR)
    os.close(process)
    return len(outgoing)


def test_model_replica_that_dies_is_told_to_every_client(application: Application, state: Path) -> None:
    ends = ends_of_streams_when_killed(application, state, "ModelServer:demo-chat")
    assert set(ends) <= {"whole", "told"}, ends
    assert "told" in ends


def test_connection_that_breaks_is_told_to_every_client_and_made_anew(
    application: Application, state: Path
) -> None:
    [ingress] = replicas(state, "Ingress")
    [replica] = replicas(state, "ModelServer:demo-chat")
    broken: list[int] = []
    ends = ends_of_streams(application, lambda: broken.append(break_channels(ingress, replica)))

    assert broken[0] >= 1
    assert set(ends) == {"told"}, ends
    assert set(ends_of_streams(application, lambda: None)) == {"whole"}
    assert replicas(state, "Ingress") | replicas(state, "ModelServer:demo-chat") == {ingress, replica}


def test_ingress_that_dies_leaves_no_answer_that_looks_whole(application: Application, state: Path) -> None:
    ends = ends_of_streams_when_killed(application, state, "Ingress")
    assert set(ends) <= {"whole", "told", "broken"}, ends
