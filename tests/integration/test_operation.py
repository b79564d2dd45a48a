"""What the operator sees: readiness, logs, metrics, processes, memory."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cluster.local import memory, processes, session
from cluster.local.processes import Process
from tests.integration.conftest import Application
from tests.machine import slowness

pytestmark = pytest.mark.integration

CHAT = {"model": "qwen-max", "messages": [{"role": "user", "content": "Hello!"}], "temperature": 0}
MEMORY_BOUND_BYTES = 10 * 2**30


@pytest.fixture(scope="module")
def state(application: Application) -> Path:
    if application.state is None:
        pytest.skip("the application was started by hand (QWEN_SERVE_TEST_URL); its logs are not known here")
    return application.state


def eventually(find: Callable[[], Any], within_s: float = 30) -> Any:
    """What ``find`` finds, as soon as it finds something."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if found := find():
            return found
        time.sleep(0.2)
    pytest.fail(f"not found within {within_s} s")


def processes_of(state: Path) -> tuple[Process, ...]:
    """Every process of the running application."""
    current = session.recorded(state)
    assert current
    return processes.find(current.id)


def records(state: Path, replica: str) -> list[dict[str, Any]]:
    """The JSON log lines of one deployment."""
    files = (state / "logs" / "ray" / "serve").glob(f"replica_qwen-serve_{replica}*.log")
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def told(state: Path, request_id: str) -> list[dict[str, Any]]:
    """The ingress's own lines of one request."""
    lines = records(state, "Ingress")
    return [each for each in lines if each["message"] == "request" and each.get("request_id") == request_id]


def test_ready_line_tells_time_and_memory(application: Application, state: Path) -> None:
    assert re.search(r"Ready after \d+ s, [\d.]+ GiB of memory", application.ready_line)


def test_application_stays_under_its_memory_bound(state: Path, client: openai.OpenAI) -> None:
    client.chat.completions.create(**CHAT)  # type: ignore[call-overload]
    used = memory.used_bytes(processes_of(state))
    assert used < MEMORY_BOUND_BYTES, f"{used / 2**30:.2f} GiB"


def test_ingress_process_has_neither_torch_nor_vllm(state: Path) -> None:
    checked = 0
    for process in processes_of(state):
        title = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        if b"ServeReplica" in title and b"Ingress" in title:
            mapped = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8")
            assert "libtorch" not in mapped
            assert "vllm" not in mapped
            checked += 1
    assert checked == 1


def test_health_and_readiness_need_no_key(application: Application) -> None:
    assert httpx.get(f"{application.url}/health").json() == {"status": "ok"}
    ready = httpx.get(f"{application.url}/ready")
    assert ready.status_code == 200
    assert set(ready.json()["models"]) == {"demo-chat", "demo-vl", "demo-embedding", "demo-reranker"}


@pytest.mark.parametrize("stream", [False, True])
def test_one_log_line_tells_of_a_request_and_never_its_text(
    http: httpx.Client, state: Path, stream: bool
) -> None:
    request_id = f"order-{int(stream)}"
    response = http.post(
        "/v1/chat/completions", json={**CHAT, "stream": stream}, headers={"x-request-id": request_id}
    )
    assert response.headers.get_list("x-request-id") == [request_id]

    (line,) = eventually(lambda: told(state, request_id))
    assert (line["model"], line["alias"], line["user_id"]) == ("demo-chat", "qwen-max", "local")
    assert (line["http_status"], line["task"], line["stream"]) == (200, "chat", stream)
    assert line["input_tokens"] > 0
    assert line["output_tokens"] > 0
    assert line["latency_ms"] > 0
    assert "Hello!" not in json.dumps(line)


LONG = {**CHAT, "max_tokens": 900, "ignore_eos": True}


@pytest.mark.parametrize("n", [1, 4])
def test_stream_that_its_client_leaves_is_counted_by_what_the_engine_made(
    http: httpx.Client, state: Path, n: int
) -> None:
    request_id, frames = f"left-{n}", 0
    body = {**LONG, "stream": True, "n": n, "temperature": 1}
    with http.stream(
        "POST", "/v1/chat/completions", json=body, headers={"x-request-id": request_id}
    ) as response:
        for line in response.iter_lines():
            frames += '"content":"' in line and '"content":""' not in line
            if frames >= 20:
                break

    (line,) = eventually(lambda: told(state, request_id))
    assert line["error_code"] == "client_gone"
    assert line["input_tokens"] > 0
    assert 20 <= line["output_tokens"] < 900 * n


def test_answer_whose_client_goes_is_counted_by_what_the_engine_made(http: httpx.Client, state: Path) -> None:
    body, slow = {**LONG, "n": 16, "temperature": 1}, slowness()
    ids = [f"left-early-{index}" for index in range(6)]
    for request_id in ids:
        with pytest.raises(httpx.ReadTimeout):
            http.post("/v1/chat/completions", json=body, headers={"x-request-id": request_id}, timeout=0.7)

    for request_id in ids:
        (line,) = eventually(partial(told, state, request_id))
        assert line["error_code"] == "client_gone"
        assert line["latency_ms"] < 700 + 1000 * slow, "cancelled within a second"
        assert line["input_tokens"] > 0
        assert 0 < line["output_tokens"] < 16 * 900


def test_request_id_reaches_the_engine(http: httpx.Client) -> None:
    response = http.post("/v1/chat/completions", json=CHAT, headers={"x-request-id": "order-66"})
    assert response.json()["id"].startswith("chatcmpl-order-66-")


def test_logs_hold_no_token(application: Application, state: Path, http: httpx.Client) -> None:
    http.get("/v1/models")
    for file in (state / "logs").rglob("*"):
        if file.is_file():
            assert application.token.encode() not in file.read_bytes(), file
    for file in (state / "logs" / "ray").resolve().rglob("*"):
        if file.is_file():
            assert application.token.encode() not in file.read_bytes(), file


def test_metrics_count_requests_and_tokens_by_model_and_status(http: httpx.Client, state: Path) -> None:
    for name in ("qwen-max", "nobody"):
        http.post("/v1/chat/completions", json={**CHAT, "model": name})
    list(http.post("/v1/chat/completions", json={**CHAT, "stream": True}).iter_lines())
    discovery = (state / "logs" / "ray").resolve().parents[1] / "prom_metrics_service_discovery.json"
    targets = [t for group in json.loads(discovery.read_text(encoding="utf-8")) for t in group["targets"]]

    def counted() -> bool:
        try:
            text = "\n".join(httpx.get(f"http://{target}/metrics").text for target in targets)
        except httpx.HTTPError:  # an exporter that is still starting
            return False
        samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
        found = {(s.name, s.labels.get("model"), s.labels.get("status")) for s in samples}
        assert "nobody" not in text
        return found >= SERIES

    assert eventually(counted, 300)


SERIES = {
    ("ray_qwen_serve_requests_total", "demo-chat", "200"),
    ("ray_qwen_serve_requests_total", "none", "404"),
    ("ray_qwen_serve_request_latency_seconds_count", "demo-chat", "200"),
    ("ray_qwen_serve_time_to_first_token_seconds_count", "demo-chat", None),
    ("ray_qwen_serve_input_tokens_total", "demo-chat", None),
    ("ray_qwen_serve_output_tokens_total", "demo-chat", None),
}


def test_curl_streams(application: Application) -> None:
    curl = shutil.which("curl")
    assert curl, "curl is not installed"
    result = subprocess.run(
        [
            *(curl, "-sN", f"{application.url}/v1/chat/completions"),
            *("-H", f"Authorization: Bearer {application.token}", "-H", "Content-Type: application/json"),
            *("-d", json.dumps({**CHAT, "stream": True})),
        ],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    *frames, done = [
        line.removeprefix("data: ") for line in result.stdout.splitlines() if line.startswith("data: ")
    ]
    said = "".join(json.loads(frame)["choices"][0]["delta"].get("content", "") for frame in frames)
    assert said == "Hello! How can I help you?"
    assert done == "[DONE]"
