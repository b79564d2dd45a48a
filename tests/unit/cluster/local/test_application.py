"""What the launcher understands of an application's own answers, over real HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cluster.local.application import Application
from cluster.local.launch import describe
from cluster.local.status import Readiness, ServeStatus

_TOKEN = "a token"
_STATUS = {"applications": {"app": {"status": "DEPLOYING", "message": "", "deployments": {}}}}


@contextmanager
def _server(status: int, body: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_serve = self.path == "/status"
            allowed = self.headers.get("authorization") == f"Bearer {_TOKEN}"
            self.send_response(status if not is_serve else 200 if allowed else 401)
            self.end_headers()
            self.wfile.write(body if not is_serve else json.dumps(_STATUS).encode() if allowed else b"no")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (its name in the base class)
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _application(url: str, token: str = _TOKEN) -> Application:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    return Application(process, Path("none.log"), url, f"{url}/status", token)


def test_not_ready_tells_which_models_are_up() -> None:
    with _server(503, b'{"ready": false, "models": {"a": true, "b": false}}') as url:
        assert _application(url).readiness() == Readiness(ready=False, models={"a": True, "b": False})


def test_ready_is_ready() -> None:
    with _server(200, b'{"ready": true, "models": {"a": true}}') as url:
        readiness = _application(url).readiness()

    assert readiness is not None
    assert readiness.ready


@pytest.mark.parametrize("body", [b"Path '/ready' not found.", b"[]", b"{}", b'{"ready": true, "models": 3}'])
def test_answer_of_another_kind_is_no_answer(body: bytes) -> None:
    with _server(404, body) as url:
        assert _application(url).readiness() is None


def test_no_server_is_no_answer() -> None:
    with _server(200, b"{}") as url:
        pass

    assert _application(url).readiness() is None


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with _server(200, b'{"ready": true, "models": {}}') as url:
        assert _application(url).readiness() is not None


def test_serve_is_asked_with_the_sessions_token() -> None:
    with _server(200, b"{}") as url:
        assert _application(url).status() == ServeStatus("DEPLOYING", "")
        assert _application(url, token="another").status() is None


def test_progress_names_the_models_that_are_up() -> None:
    readiness = Readiness(ready=False, models={"demo-chat": True, "demo-vl": False})

    assert describe(None, None) == "starting Serve"
    assert describe(readiness, None) == "1 of 2 models up: demo-chat up, demo-vl ..."
