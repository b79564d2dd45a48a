"""``qwen-serve key`` against a real server, and how every such command reaches it."""

from __future__ import annotations

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from serve_app.auth import keys
from tests.unit.serve_app.cli.conftest import Operator

CREATE = ("key", "create", "--name", "laptop", "--subject", "zhangsan", "--tenant", "research")


def test_key_is_made_listed_rotated_and_revoked(operator: Operator) -> None:
    made = operator.run(*CREATE, "--role", "user", "--role", "batch", "--expires", "90d")
    assert made.exit_code == 0, made.output
    # The secret alone, for a variable or a file; all else is on standard error.
    assert keys.digest(made.stdout.strip()) is not None
    assert made.stdout.strip() not in made.stderr
    assert "not shown again" in made.stderr

    listed = operator.says("key", "list", "--tenant", "research")
    assert made.stdout.strip() not in listed
    for shown in ("laptop", "zhangsan", "batch, user", f"...{made.stdout.strip()[-4:]}"):
        assert shown in listed
    (key,) = json.loads(operator.says("key", "list", "--json"))["data"]
    assert key["id"] in listed
    assert 89 * 86_400 < key["expires_at"] - time.time() <= 90 * 86_400

    rotated = operator.says("key", "rotate", key["id"], "--grace", "10m").strip()
    assert keys.digest(rotated) is not None
    assert rotated != made.stdout.strip()
    assert "revoked" in operator.says("key", "revoke", key["id"])
    assert json.loads(operator.says("key", "list", "--json"))["data"] == []


def test_key_keeps_its_restrictions(operator: Operator) -> None:
    answer = operator.says(
        *CREATE, "--model", "qwen*", "--model", "demo-*", "--address", "10.0.0.0/8", "--json"
    )
    key = json.loads(answer)
    assert key["key"].startswith("sk-")
    assert (key["models"], key["addresses"]) == (["qwen*", "demo-*"], ["10.0.0.0/8"])


def test_rotation_without_grace_ends_the_old_secret(operator: Operator) -> None:
    key = json.loads(operator.says(*CREATE, "--json"))
    rotated = json.loads(operator.says("key", "rotate", key["id"], "--grace", "0", "--json"))
    assert rotated["previous_expires_at"] is None


def test_refusal_is_one_line_with_what_to_do(operator: Operator) -> None:
    operator.says(*CREATE)
    error = operator.fails(*CREATE)
    assert error.count("\n") == 1
    assert "choose another name" in error
    assert "There is no key of that id" in operator.fails("key", "revoke", "key_?x")
    assert "--expires" in operator.fails(*CREATE, "--expires", "soon")


def test_control_characters_do_not_reach_the_terminal(operator: Operator) -> None:
    operator.says("key", "create", "--name", "a\x9b31m\u202eb", "--subject", "[red]s[/]")
    listed = operator.says("key", "list")
    assert "\x9b" not in listed
    assert "\u202e" not in listed
    assert "[red]s[/]" in listed


def test_credential_is_that_of_the_environment(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWEN_SERVE_TOKEN", operator.tokens.issue("zhangsan", ["user"], 60))
    assert "QWEN_SERVE_TOKEN" in operator.fails("key", "list")
    monkeypatch.setenv("QWEN_SERVE_TOKEN", operator.tokens.issue("root", ["admin"], 60) + "\n")
    Path("serve_config.yaml").unlink()
    # With an address and a credential there is nothing to read from the configuration.
    operator.says("key", "list", "--url", operator.url + "/")


@pytest.mark.parametrize("token", ["two\nlines", "schlüssel", "a b"])
def test_credential_that_cannot_be_one_is_not_shown(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("QWEN_SERVE_TOKEN", token)
    assert token not in operator.fails("key", "list")


def test_configuration_without_a_role_for_administrators_is_said_so(operator: Operator) -> None:
    content = yaml.safe_load(Path("serve_config.yaml").read_text(encoding="utf-8"))
    content["applications"][0]["args"]["auth"]["roles"] = {"user": {"models": ["*"]}}
    Path("serve_config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    assert "admin: true" in operator.fails("key", "list")


def test_secret_or_configuration_that_is_missing_is_named(operator: Operator) -> None:
    Path("jwt.key").unlink()
    assert "qwen-serve secret jwt.key" in operator.fails("key", "list")
    assert "none.yaml" in operator.fails("key", "list", "--config", "none.yaml")


def test_address_where_nothing_answers_is_said_so(operator: Operator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    error = operator.fails("key", "list", "--url", f"http://127.0.0.1:{port}")
    assert "Connection refused" in error
    assert "qwen-serve up" in error


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://h", "http://u:p@h", "http://h:port", "http://h/ x"])
def test_url_that_is_none_is_refused(operator: Operator, url: str) -> None:
    assert "--url" in operator.fails("key", "list", "--url", url)


def test_credential_does_not_follow_a_redirect(operator: Operator) -> None:
    asked: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302)
            self.send_header("location", f"http://localhost:{self.server.server_port}/stolen")  # type: ignore[attr-defined]
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            error = operator.fails("key", "list", "--url", f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join(10)
    assert asked == ["/admin/v1/keys"]
    assert "302" in error
