"""The application, started once for all integration tests: real Ray, real Serve, real vLLM on the CPU.

With ``QWEN_SERVE_TEST_URL`` and ``QWEN_SERVE_TEST_TOKEN`` in the environment the tests use an application
that already runs, as is handy while writing them.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import openai
import pytest
import yaml

from serve_app.serve_file import keep_files_in

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 900
STOPPED_WITHIN_S = 240
PRICE = {
    "input_cny_per_million_tokens": 0.5,
    "output_cny_per_million_tokens": 1,
    "public_input_cny_per_million_tokens": 2.4,
    "public_output_cny_per_million_tokens": 9.6,
}


@dataclass(frozen=True)
class Application:
    """The running application, as a client sees it.

    Attributes:
        url: Without a path.
        token: For any user.
        state: Folder of its logs; None where the tests did not start it.
        ready_line: What the launcher said when it was ready.
        config: What it was started with.
    """

    url: str
    token: str
    state: Path | None = None
    ready_line: str = ""
    config: Path = ROOT / "serve_config.yaml"


@pytest.fixture(scope="session")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    if url := os.environ.get("QWEN_SERVE_TEST_URL"):
        yield Application(url, os.environ["QWEN_SERVE_TEST_TOKEN"])
        return
    state = tmp_path_factory.mktemp("state")
    content = yaml.safe_load((ROOT / "serve_config.yaml").read_text(encoding="utf-8"))
    args = content["applications"][0]["args"]
    keep_files_in(state, args)
    args.setdefault("prices", {"demo-chat": PRICE})
    config = state / "serve_config.yaml"
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    with running(config, state) as application:
        yield application


@contextmanager
def running(config: Path, state: Path, *options: str) -> Iterator[Application]:
    """An application of its own, started by the launcher and stopped at the end."""
    state.mkdir(exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "serve_app.cli", "up"]
    command += ["--config", str(config), "--port", str(port), "--state", str(state), *options]
    output = state / "up.log"
    with output.open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield replace(_when_ready(process, output, state), config=config)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(STOPPED_WITHIN_S) == 0, output.read_text(encoding="utf-8")[-3000:]


def _when_ready(process: subprocess.Popen[bytes], output: Path, state: Path) -> Application:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        text = output.read_text(encoding="utf-8")
        if "Ctrl-C stops everything." in text.partition("Ready after")[2]:
            url = re.search(r"Base URL +(\S+)/v1", text)
            token = re.search(r"API token +(\S+)", text)
            ready = re.search(r"Ready after .*", text)
            assert url
            assert token
            assert ready
            return Application(url[1], token[1], state, ready[0])
        if process.poll() is not None:
            pytest.fail(f"the application did not start:\n{text[-4000:]}", pytrace=False)
        time.sleep(0.5)
    pytest.fail(f"not ready within {READY_WITHIN_S} s:\n{output.read_text(encoding='utf-8')[-4000:]}")


@pytest.fixture(scope="session")
def client(application: Application) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{application.url}/v1", api_key=application.token, max_retries=0)


@pytest.fixture
async def async_client(application: Application) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{application.url}/v1", api_key=application.token, max_retries=0
    ) as client:
        yield client


@pytest.fixture(scope="session")
def http(application: Application) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {application.token}"}
    with httpx.Client(base_url=application.url, headers=headers, timeout=180) as client:
        yield client
