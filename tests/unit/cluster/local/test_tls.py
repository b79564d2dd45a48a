"""TLS as it is served: Ray's configuration, the script and the real HAProxy, before a small server."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme
from ray.serve._private.common import RequestProtocol
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions

from cluster.local import certificate
from cluster.local.failure import LaunchFailed
from cluster.local.haproxy import METRICS_PORT, STATS_PORT, HaProxy
from cluster.local.ray_node import free_ports
from cluster.local.serve_file import ServeFile
from cluster.local.session import Session
from cluster.local.tls import CertificateWatch, Tls, secure
from tests.unit.cluster.local.test_certificate import written

_EVENTS = 30
_WITHIN_S = 20.0


class _Stream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for _ in range(_EVENTS if self.path == "/stream" else 1):
            self.wfile.write(b"9\r\ndata: 1\n\n\r\n")
            self.wfile.flush()
            time.sleep(0.05 if self.path == "/stream" else 0)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # HAProxy that ends
            super().handle()


@pytest.fixture
def upstream() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Stream) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


class Front:
    """A running HAProxy with TLS."""

    def __init__(self, folder: Path, upstream: int) -> None:
        self.port, self.plain = free_ports(0, 0)
        self.tls: Tls = secure({"host": None, "port": 1, **_NONE}, "127.0.0.1", folder / "made", self.port)
        session = Session("an-id", 1, folder / "run", folder, self.plain)
        session.private_dir.mkdir()
        file = ServeFile(Path("serve_config.yaml"), "0.0.0.0", self.plain, ())
        front = HaProxy(b"{}", self.tls)
        env = front.prepare(session, file, {})
        watch = front.watch(session.private_dir)
        assert watch is not None
        self.watch: CertificateWatch = watch
        self.configuration = _configuration(env, session.private_dir, self.plain, upstream)
        self.command = [env["RAY_SERVE_HAPROXY_BINARY_PATH"], "-db", "-f", str(self.configuration)]
        self.authority = folder / "made" / certificate.AUTHORITY
        self.made = folder / "made"

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.authority))

    def get(self, path: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPSConnection(
            "localhost", self.port, timeout=_WITHIN_S, context=self.context()
        )
        connection.request("GET", path)
        return connection.getresponse()

    def serial(self) -> str:
        """Of the certificate that a new connection is shown."""
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=_WITHIN_S) as plain,
            _anyone().wrap_socket(plain) as connection,
        ):
            shown = connection.getpeercert(binary_form=True)
        assert shown
        return ssl.DER_cert_to_PEM_cert(shown)


_NONE: dict[str, None] = {"certificate_file": None, "key_file": None}


def _anyone() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _configuration(env: dict[str, str], folder: Path, port: int, upstream: int) -> Path:
    """What Ray writes for an application with one replica of its ingress."""
    config = HAProxyConfig(
        http_options=HTTPOptions(host="0.0.0.0", port=port),
        stats_port=int(env[STATS_PORT]),
        metrics_port=int(env[METRICS_PORT]),
        socket_path=str(folder / "node" / "ctl"),
        server_state_base=str(folder / "node"),
        server_state_file=str(folder / "node" / "server-state"),
        metrics_socket_path=str(folder / "node" / "log"),
        http_health_check_path="/",
    )
    api = HAProxyApi(cfg=config, config_file_path=str(folder / "node" / "haproxy.cfg"))
    replica = ServerConfig(name="replica", host="127.0.0.1", port=upstream)
    backend = BackendConfig(
        name="app", path_prefix="/", app_name="app", servers=[replica], http_health_check_path="/"
    )
    backend.protocol = RequestProtocol.HTTP
    api.set_backend_configs({"app": backend})
    api._generate_config_file_internal()
    return folder / "node" / "haproxy.cfg"


@pytest.fixture
def front(tmp_path_factory: pytest.TempPathFactory, upstream: int) -> Iterator[Front]:
    front = Front(tmp_path_factory.mktemp("t"), upstream)
    process = subprocess.Popen(front.command, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _WITHIN_S
        while not _serves(front):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)  # between two looks
        yield front
    finally:
        process.terminate()
        process.wait(_WITHIN_S)


def _serves(front: Front) -> bool:
    try:
        return front.get("/").status == 200
    except OSError:
        return False


def test_tls_1_3_is_spoken_and_nothing_older(front: Front) -> None:
    context = front.context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", front.port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        assert connection.version() == "TLSv1.3"
        assert connection.selected_alpn_protocol() == "h2"
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"),
        socket.create_connection(("127.0.0.1", front.port)) as plain,
    ):
        context.wrap_socket(plain, server_hostname="localhost")


def test_plain_http_is_refused_on_the_port_of_https(front: Front) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=_WITHIN_S)

    connection.request("GET", "/")
    with pytest.raises((http.client.BadStatusLine, ConnectionError)):
        connection.getresponse()


def test_plain_port_is_for_this_machine_only(front: Front) -> None:
    listening = subprocess.run(["ss", "-ltnH"], capture_output=True, text=True, check=True).stdout

    (address,) = {
        line.split()[3] for line in listening.splitlines() if line.split()[3].endswith(f":{front.plain}")
    }
    assert address == f"127.0.0.1:{front.plain}", "http_options.host says 0.0.0.0"


def test_certificate_changes_under_a_stream(front: Front) -> None:
    before = front.serial()
    stream = front.get("/stream")
    assert stream.readline() == b"data: 1\n"
    front.authority.unlink()  # so that another is made
    certificate.ensure_made(front.made)

    assert "a new certificate is in force, until" in (front.watch.look() or "")

    assert front.serial() not in ("", before)
    assert front.get("/").status == 200, "the client trusts the new authority"
    assert stream.read().count(b"data: 1\n") == _EVENTS - 1, "the stream ends whole"
    assert front.watch.look() is None


def test_unfit_certificate_is_told_once_and_changes_nothing(front: Front, tmp_path: Path) -> None:
    before = front.serial()
    certificate_file, key_file = written(tmp_path, "other.example")
    certificate_file.replace(front.tls.certificate_file)

    told = [front.watch.look(), front.watch.look()]

    assert told[0] is not None
    assert "is not the key of the first certificate" in told[0]
    assert told[1] is None
    assert front.serial() == before
    key_file.replace(front.tls.key_file)  # the second of two files arrives
    assert "a new certificate is in force" in (front.watch.look() or "")
    assert front.serial() != before


def test_proxy_that_starts_anew_reads_the_changed_certificate(front: Front) -> None:
    front.authority.unlink()
    certificate.ensure_made(front.made)
    front.watch.look()
    admin = front.configuration.parent / "ctl"
    old = _process_of(admin)

    again = subprocess.Popen([*front.command, "-sf", str(old), "-x", str(admin)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _WITHIN_S
        while _process_of(admin) != again.pid:
            assert time.monotonic() < deadline
            time.sleep(0.05)  # between two looks
        assert front.serial().strip() == (front.made / certificate.CERTIFICATE).read_text().strip()
    finally:
        again.terminate()
        again.wait(_WITHIN_S)


def _process_of(admin: Path) -> int:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(admin))
        connection.sendall(b"show info\n")
        text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        return next(int(line.partition(":")[2]) for line in text.splitlines() if line.startswith("Pid:"))
    return -1


def test_configuration_without_the_expected_line_starts_no_proxy(front: Front) -> None:
    text = front.configuration.read_text(encoding="utf-8")
    other = front.configuration.with_name("other.cfg")
    other.write_text(
        "\n".join(
            line for line in text.splitlines() if f":{front.plain}" not in line and " ssl " not in line
        ),
        encoding="utf-8",
    )

    done = subprocess.run([*front.command[:2], "-f", str(other), "-c"], check=False)

    assert done.returncode != 0, "plain HTTP for everybody would be worse than none"


def test_unfit_certificate_starts_nothing(tmp_path: Path) -> None:
    certificate_file, _ = written(tmp_path, "a.example")
    _, key_file = written(tmp_path, "b.example")
    tls = Tls("127.0.0.1", 8443, certificate_file, key_file)

    with pytest.raises(LaunchFailed, match="is not the key"):
        tls.prepare(tmp_path, 8000)
    with pytest.raises(LaunchFailed, match="cannot read files in"):
        tls.prepare(tmp_path / "with space", 8000)


def test_address_names_what_the_certificate_is_for(tmp_path: Path) -> None:
    files = dict(zip(("certificate_file", "key_file"), written(tmp_path, "models.example"), strict=True))
    given = secure({"host": None, "port": 8443, **files}, "0.0.0.0", tmp_path, None)
    made = secure({"host": "127.0.0.1", "port": 8443, **_NONE}, "0.0.0.0", tmp_path / "made", 9443)

    assert (given.url, given.host, given.authority_file) == ("https://models.example:8443", "0.0.0.0", None)
    assert (made.url, made.host) == ("https://127.0.0.1:9443", "127.0.0.1")
    assert not (tmp_path / certificate.KEY).exists()


def test_bundle_is_for_its_owner_only(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("a.example")
    (tmp_path / "c.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    (tmp_path / "k.pem").write_bytes(issued.private_key_pem.bytes())
    folder = tmp_path / "run"
    folder.mkdir()

    Tls("127.0.0.1", 8443, tmp_path / "c.pem", tmp_path / "k.pem").prepare(folder, 8000)

    assert {name: os.stat(folder / name).st_mode & 0o077 for name in ("tls.pem",)} == {"tls.pem": 0}
