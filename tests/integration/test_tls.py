"""The application with TLS, as `make serve TLS=1` starts it: what a scanner and other clients see."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml
from openai.types.chat import ChatCompletionMessageParam
from prometheus_client.parser import text_string_to_metric_families

from cluster.local import certificate, session
from serve_app.serve_file import keep_files_in
from tests import tools
from tests.integration.conftest import ROOT, Application, running

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SSLYZE = "sslyze==6.3.1"  # not among the locked packages: it needs an older cryptography
TOKENS = 120
"""A stream of six seconds."""
IN_FORCE_WITHIN_S = 5.0
TOLD_WITHIN_S = 120.0
MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello!"}]


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    folder = tmp_path_factory.mktemp("tls")
    content = yaml.safe_load((ROOT / "configs" / "simulated.yaml").read_text(encoding="utf-8"))
    content["http_options"]["host"] = "0.0.0.0"
    args = content["applications"][0]["args"]
    args["models"][0]["simulation"]["step_s"] = 0.05
    keep_files_in(folder, args)
    config = folder / "serve_config.yaml"
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    with running(config, folder / "state", "--tls") as application:
        yield application


@pytest.fixture(scope="module")
def folder(application: Application) -> Path:
    """Where the certificate lies that was made."""
    assert application.state is not None
    return application.state / "tls"


@pytest.fixture(scope="module")
def address(application: Application) -> tuple[str, int]:
    url = httpx.URL(application.url)
    assert url.scheme == "https"
    assert url.port is not None
    return url.host, url.port


def trusting(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(folder / certificate.AUTHORITY))


def openai_client(application: Application, folder: Path, *, http2: bool) -> openai.OpenAI:
    http = openai.DefaultHttpxClient(verify=trusting(folder), http2=http2)
    return openai.OpenAI(
        base_url=f"{application.url}/v1", api_key=application.token, http_client=http, max_retries=0
    )


def test_scanner_finds_tls_1_3_and_nothing_else(
    address: tuple[str, int], folder: Path, tmp_path: Path
) -> None:
    scan = tmp_path / "scan.json"
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "sslyze",
                "--quiet",
                f"--json_out={scan}",
                "--mozilla_config=modern",
                "--early_data",
            ),
            *(f"--certinfo_ca_file={folder / certificate.AUTHORITY}", f"{address[0]}:{address[1]}"),
        ],
        env={**os.environ, "PYTHONPATH": str(tools.python_tool(SSLYZE))},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found: dict[str, Any] = json.loads(scan.read_text(encoding="utf-8"))["server_scan_results"][0][
        "scan_result"
    ]
    accepted = {
        name: [one["cipher_suite"]["name"] for one in found[name]["result"]["accepted_cipher_suites"]]
        for name in found
        if name.endswith("_cipher_suites")
    }
    assert sorted(accepted.pop("tls_1_3_cipher_suites")) == [
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
    ]
    assert accepted == {
        f"{name}_cipher_suites": [] for name in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1", "tls_1_2")
    }
    curves = {curve["name"] for curve in found["elliptic_curves"]["result"]["supported_curves"]}
    assert curves == {"X25519", "secp256r1", "secp384r1"}
    assert found["tls_1_3_early_data"]["result"]["supports_early_data"] is False


def test_plain_client_is_refused(address: tuple[str, int], application: Application) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"http://{address[0]}:{address[1]}/health")
    assert application.state is not None
    current = session.recorded(application.state)
    assert current is not None
    listening = subprocess.run(["ss", "-ltnH"], capture_output=True, text=True, check=True).stdout
    addresses = {line.split()[3] for line in listening.splitlines()}
    assert f"127.0.0.1:{current.port}" in addresses, "for the launcher"
    assert not {f"0.0.0.0:{current.port}", f"*:{current.port}"} & addresses, "http_options.host says 0.0.0.0"


def test_client_that_does_not_know_the_authority_does_not_connect(application: Application) -> None:
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{application.url}/health", verify=ssl.create_default_context())


def test_openai_sdk_trusts_what_the_printed_variable_names(
    application: Application, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / certificate.AUTHORITY))
    with openai.OpenAI(base_url=f"{application.url}/v1", api_key=application.token) as client:
        assert [model.id for model in client.models.list()] == ["simulated-chat"]


def test_openai_sdk_works_over_http_1_and_2(application: Application, folder: Path) -> None:
    pytest.importorskip("h2", reason="httpx speaks HTTP/2 with the package h2; `make setup` installs it")
    for http2 in (False, True):
        with openai_client(application, folder, http2=http2) as client:
            whole = client.chat.completions.create(model="simulated-chat", messages=MESSAGES, max_tokens=8)
            assert whole.usage is not None
            assert whole.usage.completion_tokens == 8
            raw = client.chat.completions.with_raw_response.create(
                model="simulated-chat", messages=MESSAGES, max_tokens=20, stream=True
            )
            assert raw.http_response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
            arrived = [time.monotonic() for chunk in raw.parse() if chunk.choices[0].delta.content]
            assert len(arrived) == 20
            assert arrived[-1] - arrived[0] > 0.5, "frames come as they are made, not all at the end"


def test_curl_streams_over_http_2(application: Application, folder: Path) -> None:
    curl = shutil.which("curl")
    assert curl
    body = {"model": "simulated-chat", "messages": MESSAGES, "max_tokens": 5, "stream": True}
    done = subprocess.run(
        [
            *(curl, "-sN", "--max-time", "60", "--cacert", str(folder / certificate.AUTHORITY)),
            *("-w", "%{http_version}", f"{application.url}/v1/chat/completions", "-d", json.dumps(body)),
            *("-H", f"Authorization: Bearer {application.token}", "-H", "Content-Type: application/json"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.endswith("data: [DONE]\n\n2")


def test_certificate_changes_under_streams_that_end_whole(
    application: Application, folder: Path, address: tuple[str, int]
) -> None:
    before = shown(address)

    def stream(_: int) -> tuple[int, str | None]:
        with openai_client(application, folder, http2=False) as client:
            chunks = list(
                client.chat.completions.create(
                    model="simulated-chat", messages=MESSAGES, max_tokens=TOKENS, stream=True
                )
            )
        texts = [chunk for chunk in chunks if chunk.choices[0].delta.content]
        return len(texts), chunks[-1].choices[0].finish_reason

    with ThreadPoolExecutor(8) as pool:
        streams = [pool.submit(stream, index) for index in range(8)]
        time.sleep(1.5)  # into the streams
        (folder / certificate.AUTHORITY).unlink()  # so that another is made
        certificate.ensure_made(folder)
        deadline = time.monotonic() + IN_FORCE_WITHIN_S
        while (after := shown(address)) == before:
            assert time.monotonic() < deadline, "the launcher has not put it in force"
            time.sleep(0.1)  # between two looks
        assert not any(stream.done() for stream in streams), "they are older than the change"
        assert [stream.result() for stream in streams] == [(TOKENS, "length")] * 8

    assert after == (folder / certificate.CERTIFICATE).read_text(encoding="ascii").strip()
    assert httpx.get(f"{application.url}/health", verify=trusting(folder)).status_code == 200


def test_expiry_is_among_the_metrics(application: Application, folder: Path) -> None:
    assert application.state is not None
    discovery = (application.state / "logs" / "ray").resolve().parents[
        1
    ] / "prom_metrics_service_discovery.json"
    expires = certificate.read(folder / certificate.CERTIFICATE, folder / certificate.KEY).expires
    deadline = time.monotonic() + TOLD_WITHIN_S
    while (told := gauge(discovery)) != [expires]:
        assert time.monotonic() < deadline, told
        time.sleep(1)  # between two looks


def gauge(discovery: Path) -> list[datetime]:
    targets = [t for group in json.loads(discovery.read_text(encoding="utf-8")) for t in group["targets"]]
    texts = [httpx.get(f"http://{target}/metrics", timeout=30).text for target in targets]
    return [
        datetime.fromtimestamp(sample.value).astimezone()
        for text in texts
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "ray_qwen_serve_certificate_expiry_timestamp_seconds"
    ]


def shown(address: tuple[str, int]) -> str:
    """The certificate that a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(address, timeout=30) as plain,
        context.wrap_socket(plain) as connection,
    ):
        certificate_der = connection.getpeercert(binary_form=True)
    assert certificate_der
    return ssl.DER_cert_to_PEM_cert(certificate_der).strip()
