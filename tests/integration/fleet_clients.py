"""Clients of a fleet: what they ask, and when they have asked it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from cluster.local import session
from serve_app.serve_file import keep_files_in
from tests.integration.conftest import ROOT, Application, running

PROMPT = "What is the capital of France?"


@dataclass
class Asked:
    """One request.

    Attributes:
        model: Whom.
        begun: When, seconds of ``time.time``.
        ended: When its last byte was there.
        first_token_s: From its begin, seconds.
        status: Of the answer.
        comments: What it was told while it waited.
        text: The whole answer.
    """

    model: str
    begun: float = 0.0
    ended: float = 0.0
    first_token_s: float | None = None
    status: int = 0
    comments: list[str] = field(default_factory=list)
    text: str = ""

    @property
    def whole(self) -> bool:
        """Whether it was answered to its end, without an error."""
        return self.status == 200 and '"error"' not in self.text and self.text.endswith("data: [DONE]\n")


class FleetClient:
    """Asks the application.

    Args:
        application: Which.
    """

    def __init__(self, application: Application) -> None:
        self._url = application.url
        self._user = {"authorization": f"Bearer {application.token}"}
        self._admin = {"authorization": f"Bearer {admin_token(application)}"}
        self.asked: list[Asked] = []

    def stream(self, model: str, max_tokens: int = 5) -> Asked:
        """One stream, to its end."""
        asked = Asked(model, begun=time.time())
        self.asked.append(asked)
        body = {
            "model": model,
            "messages": [{"role": "user", "content": PROMPT}],
            "max_tokens": max_tokens,
            "stream": True,
        }
        url = f"{self._url}/v1/chat/completions"
        with (
            httpx.Client(timeout=600, headers=self._user) as client,
            client.stream("POST", url, json=body) as answer,
        ):
            asked.status = answer.status_code
            for line in answer.iter_lines():
                if line.startswith(":"):
                    asked.comments.append(line)
                elif line.startswith("data:"):
                    if asked.first_token_s is None:
                        asked.first_token_s = time.time() - asked.begun
                    asked.text += f"{line}\n"
        asked.ended = time.time()
        return asked

    def whole(self, model: str) -> httpx.Response:
        """One answer that is not streamed."""
        body = {"model": model, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 5}
        return httpx.post(f"{self._url}/v1/chat/completions", json=body, headers=self._user, timeout=600)

    def fleet(self) -> dict[str, Any]:
        """What an administrator sees."""
        answer = httpx.get(f"{self._url}/admin/v1/fleet", headers=self._admin, timeout=30)
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    def state(self, model: str) -> dict[str, Any]:
        """Of one model."""
        return next(shown for shown in self.fleet()["models"] if shown["id"] == model)

    def cards(self) -> dict[str, dict[str, Any]]:
        """``GET /v1/models`` by id."""
        answer = httpx.get(f"{self._url}/v1/models", headers=self._user, timeout=30)
        return {card["id"]: card for card in answer.json()["data"]}

    def await_state(self, model: str, state: str, within_s: float) -> None:
        """Until a model is in a state."""
        deadline = time.monotonic() + within_s
        while (shown := self.state(model))["state"] != state:
            assert time.monotonic() < deadline, shown
            time.sleep(0.2)  # between two looks


def admin_token(application: Application) -> str:
    """A token of an administrator's."""
    command = [sys.executable, "-m", "serve_app.cli", "token", "--subject", "root", "--role", "admin"]
    command += ["--config", str(application.config)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return result.stdout.strip()


@contextmanager
def fleet_of(folder: Path, content: dict[str, Any]) -> Iterator[Application]:
    """An application of its own."""
    keep_files_in(folder, content["applications"][0]["args"])
    config = folder / "fleet.yaml"
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    with running(config, folder / "state") as application:
        yield application


@contextmanager
def observed(application: Application, file: Path) -> Iterator[None]:
    """Ray's own word of who holds GPUs, written to a file meanwhile."""
    assert application.state is not None
    current = session.recorded(application.state)
    assert current is not None
    address = (current.temp_dir / "ray_current_cluster").read_text(encoding="utf-8").strip()
    ray = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(current.token_file)}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.fleet_observer", address, str(file)],
        cwd=ROOT,
        env={**os.environ, **ray},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while not (file.exists() and file.stat().st_size):
            assert process.poll() is None, "the observer has ended"
            assert time.monotonic() < deadline
            time.sleep(0.2)  # between two looks
        yield
        assert process.poll() is None, "the observer has ended before the test"
    finally:
        process.terminate()
        process.wait(30)
