"""A changed configuration is handed to Serve, under the session's token and on its port."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.local import session
from cluster.local.apply import apply
from cluster.local.failure import LaunchFailed

DOCUMENT = {"http_options": {"host": "127.0.0.1", "port": 8000}, "applications": [{"name": "qwen-serve"}]}


class Serve:
    """Ray's dashboard, as far as it takes configurations."""

    def __init__(self, *statuses: str, refuses: bool = False) -> None:
        self.statuses = list(statuses)
        self.taken: list[dict[str, Any]] = []
        self.tokens: set[str] = set()
        serve = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                serve.tokens.add(self.headers["authorization"])
                if refuses:
                    self.answer(400, b"importing serve_app failed")
                    return
                serve.taken.append(json.loads(body))
                self.answer(200, b"")

            def do_GET(self) -> None:
                serve.tokens.add(self.headers["authorization"])
                status = serve.statuses.pop(0) if len(serve.statuses) > 1 else serve.statuses[0]
                details = {"status": status, "message": "it does not start", "deployments": {}}
                self.answer(200, json.dumps({"applications": {"qwen-serve": details}}).encode())

            def answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Serve:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "serve_config.yaml"
    path.write_text(yaml.safe_dump(DOCUMENT), encoding="utf-8")
    return path


@pytest.fixture
def current(tmp_path: Path) -> Iterator[session.Session]:
    with session.begin(tmp_path / "state", 8123) as current:
        yield current


def test_configuration_is_in_force_once_serve_says_so(file: Path, current: session.Session) -> None:
    with Serve("DEPLOYING", "DEPLOYING", "RUNNING") as serve:
        current.dashboard_file.write_text(serve.url, encoding="ascii")
        apply(file, current.folder, 30)
    assert serve.statuses == ["RUNNING"]
    assert serve.taken == [DOCUMENT | {"http_options": {"host": "127.0.0.1", "port": 8123}}]
    assert serve.tokens == {f"Bearer {current.token_file.read_text(encoding='ascii')}"}


def test_refusal_is_passed_on(file: Path, current: session.Session) -> None:
    with Serve("RUNNING", refuses=True) as serve:
        current.dashboard_file.write_text(serve.url, encoding="ascii")
        with pytest.raises(LaunchFailed, match="importing serve_app failed"):
            apply(file, current.folder, 30)


def test_configuration_that_does_not_start_is_told(file: Path, current: session.Session) -> None:
    with Serve("DEPLOYING", "DEPLOY_FAILED") as serve:
        current.dashboard_file.write_text(serve.url, encoding="ascii")
        with pytest.raises(LaunchFailed, match="it does not start"):
            apply(file, current.folder, 30)


def test_wait_is_bounded(file: Path, current: session.Session) -> None:
    with Serve("DEPLOYING") as serve:
        current.dashboard_file.write_text(serve.url, encoding="ascii")
        with pytest.raises(LaunchFailed, match="not in force after"):
            apply(file, current.folder, 0.1)


def test_nothing_runs(file: Path, tmp_path: Path) -> None:
    with pytest.raises(LaunchFailed, match="qwen-serve up"):
        apply(file, tmp_path / "state", 30)
