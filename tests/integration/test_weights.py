"""A model that lies in S3: the store brings it, and the real engine answers with it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml

from deployments.weights import S3Config, WeightsConfig
from deployments.weights.publish import publish
from deployments.weights.s3 import open_client
from serve_app.serve_file import keep_files_in
from tests.integration.conftest import ROOT, Application, running

pytestmark = pytest.mark.integration

_SECRET = "not-to-be-seen-in-any-log"
_ANSWERS_WITHIN_S = 60


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A real S3 server in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _ANSWERS_WITHIN_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)  # between two looks
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def stored(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Application, Path]]:
    """An application whose only model lies in a bucket, and the cache of its machine."""
    folder = tmp_path_factory.mktemp("weights")
    credentials = folder / "credentials"
    credentials.write_text(f"[default]\naws_access_key_id = key\naws_secret_access_key = {_SECRET}\n")
    s3 = S3Config(endpoint_url=endpoint, credentials_file=credentials)
    weights = WeightsConfig(cache_dir=folder / "cache", require_manifest=True, s3=s3)
    open_client(s3, "tests", 1).create_bucket(Bucket="models")
    publish(ROOT / "models" / "demo-chat", "s3://models/demo-chat", weights)

    content = yaml.safe_load((ROOT / "serve_config.yaml").read_text(encoding="utf-8"))
    args: dict[str, Any] = content["applications"][0]["args"]
    keep_files_in(folder, args)
    args["models"] = [one for one in args["models"] if one["id"] == "demo-chat"]
    args["models"][0]["source"] = "s3://models/demo-chat"
    args["aliases"], args["prices"] = {}, {}
    args["weights"] = json.loads(weights.model_dump_json())
    config = folder / "serve_config.yaml"
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    with running(config, folder / "state") as application:
        yield application, folder / "cache"


@pytest.mark.timeout(1500)
def test_model_from_a_bucket_answers(stored: tuple[Application, Path]) -> None:
    application, cache = stored
    client = openai.OpenAI(base_url=f"{application.url}/v1", api_key=application.token, max_retries=0)
    answer = client.chat.completions.create(
        model="demo-chat",
        messages=[{"role": "user", "content": "What is the capital of France?"}],
        temperature=0,
        max_tokens=40,
    )
    assert "Paris" in (answer.choices[0].message.content or "")
    seals = list(cache.glob("demo-chat-*/seal.json"))
    assert len(seals) == 1
    assert json.loads(seals[0].read_text(encoding="utf-8"))["source"] == "s3://models/demo-chat"
    assert list((cache / ".partial").iterdir()) == []


@pytest.mark.timeout(1500)
def test_no_log_holds_the_credentials(stored: tuple[Application, Path]) -> None:
    state = stored[0].state
    assert state
    logs = [path for path in state.rglob("*") if path.is_file()]
    assert logs
    assert [path for path in logs if _SECRET.encode() in path.read_bytes()] == []
