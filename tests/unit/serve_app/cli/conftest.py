"""A real server with ``/admin/v1``, and a configuration that names it."""

from __future__ import annotations

import asyncio
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
import yaml
from typer.testing import CliRunner, Result

from serve_app.auth import secret
from serve_app.auth.tokens import Tokens
from serve_app.cli import app
from serve_app.registry import Registry, RegistryClient
from tests.unit.serve_app.administration import admin_app, new_registry

ROOT = Path(__file__).resolve().parents[4]


@dataclass
class Operator:
    """Someone on the machine, in the folder of the configuration.

    Attributes:
        url: Where the application answers.
        tokens: Of the configuration's secret.
        registry: The application's.
    """

    url: str
    tokens: Tokens
    registry: Registry

    def run(self, *arguments: str) -> Result:
        """A command, as it is typed."""
        return CliRunner().invoke(app, list(arguments))

    def says(self, *arguments: str) -> str:
        """Standard output of a command that succeeds."""
        result = self.run(*arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    def fails(self, *arguments: str) -> str:
        """Standard error of a command that fails as it should: with a line, not with a traceback."""
        result = self.run(*arguments)
        assert (result.exit_code, result.stdout) == (2, ""), result.output
        assert isinstance(result.exception, SystemExit)
        return result.stderr


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("QWEN_SERVE_TOKEN", raising=False)
    tokens = Tokens(secret.ensure(tmp_path / "jwt.key"), issuer="qwen-serve", audience="qwen-serve")
    registry = new_registry(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        _configure(tmp_path / "serve_config.yaml", port)
        config = uvicorn.Config(admin_app(RegistryClient(registry), tokens), log_level="error")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            _wait(server)
            yield Operator(f"http://127.0.0.1:{port}", tokens, registry)
        finally:
            server.should_exit = True
            thread.join(10)
            asyncio.run(registry.close())


def _configure(path: Path, port: int) -> None:
    content = yaml.safe_load(Path(shutil.copy(ROOT / "serve_config.yaml", path)).read_text(encoding="utf-8"))
    content["http_options"] = {"host": "0.0.0.0", "port": port}
    content["applications"][0]["args"]["auth"]["secret_file"] = "jwt.key"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def _wait(server: uvicorn.Server) -> None:
    deadline = time.monotonic() + 10
    while not server.started:
        assert time.monotonic() < deadline, "the server does not start"
        time.sleep(0.005)
