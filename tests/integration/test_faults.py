"""Processes that die in mid-stream: a client gets the whole answer or is told that it has not."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from cluster.local import processes, session
from tests.integration.conftest import Application

pytestmark = pytest.mark.integration

STREAMS = 8
BACK_WITHIN_S = 180
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
            ready = httpx.get(f"{application.url}/ready", timeout=5).status_code == 200
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
            "POST", f"{application.url}/v1/chat/completions", json=LONG, headers=headers, timeout=60
        ) as response:
            if response.status_code != 200:
                return "told"
            for chunk in response.iter_text():
                text += chunk
                if waiting:
                    waiting = False
                    begun.wait(30)
    except httpx.HTTPError:
        return "broken"
    events = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    if not events or events[-1] != "[DONE]":
        return "silently short"
    if "error" in json.loads(events[-2]):
        return "told"
    finish = [json.loads(event)["choices"][0]["finish_reason"] for event in events[:-1]]
    return "whole" if finish[-1] == "length" else "silently short"


def ends_of_streams_when_killed(application: Application, state: Path, replica: str) -> list[str]:
    """How long streams end whose replica is killed, as a crash would, once each of them has begun."""
    victims = frozenset(replicas(state, replica))
    assert len(victims) == 1
    begun = threading.Barrier(STREAMS + 1)
    with ThreadPoolExecutor(STREAMS) as pool:
        streams = [pool.submit(stream, application, begun) for _ in range(STREAMS)]
        begun.wait(30)
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        ends = [future.result() for future in streams]
    wait_until_ready(application, state, replica, victims)
    return ends


def test_model_replica_that_dies_is_told_to_every_client(application: Application, state: Path) -> None:
    ends = ends_of_streams_when_killed(application, state, "ModelServer:demo-chat")
    assert set(ends) <= {"whole", "told"}, ends
    assert "told" in ends


def test_ingress_that_dies_leaves_no_answer_that_looks_whole(application: Application, state: Path) -> None:
    ends = ends_of_streams_when_killed(application, state, "Ingress")
    assert set(ends) <= {"whole", "told", "broken"}, ends
