"""An administrator's day on the running application: a key, its use, its end, and who used what."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.integration.conftest import ROOT, Application
from tests.machine import slowness

pytestmark = pytest.mark.integration

REVOKED_WITHIN_S = 5.0
COUNTED_WITHIN_S = 15.0
QUESTION: Any = [{"role": "user", "content": "What is the capital of France?"}]

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def config(application: Application) -> Path:
    if application.state is None:
        pytest.skip("the application was started by hand (QWEN_SERVE_TEST_URL); its secret is not known here")
    return application.config


@pytest.fixture(scope="module")
def run(application: Application, config: Path) -> Run:
    """The command line as an operator has it: no credential but the configuration's own secret."""

    def command(*arguments: str, fails: bool = False) -> Any:
        environment = {name: value for name, value in os.environ.items() if name != "QWEN_SERVE_TOKEN"}
        done = subprocess.run(
            [
                *(sys.executable, "-m", "serve_app.cli", *arguments, "--json"),
                *("--config", str(config), "--url", application.url),
            ],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert (done.returncode != 0) is fails, done.stderr
        return done.stderr if fails else json.loads(done.stdout)

    return command


def test_key_is_made_used_counted_and_revoked(application: Application, run: Run) -> None:
    key = run("key", "create", "--name", "nightly", "--subject", "lisi", "--tenant", "search")
    client = openai.OpenAI(base_url=f"{application.url}/v1", api_key=key["key"], max_retries=0)
    used = None
    deadline = time.monotonic() + REVOKED_WITHIN_S * slowness()
    while used is None:
        try:
            used = client.chat.completions.create(model="qwen-max", messages=QUESTION, temperature=0).usage
        except openai.AuthenticationError:
            assert time.monotonic() < deadline, "a new key is known everywhere within seconds"
            time.sleep(0.1)

    def of_lisi() -> dict[str, Any] | None:
        lines = run("usage", "--by", "tenant,user,model")["data"]
        return next((line for line in lines if line["user"] == "lisi"), None)

    deadline = time.monotonic() + COUNTED_WITHIN_S * slowness()
    while (line := of_lisi()) is None:
        assert time.monotonic() < deadline, "usage arrives within seconds"
    assert (line["tenant"], line["model"], line["requests"]) == ("search", "demo-chat", 1)
    assert line["prompt_tokens"] == used.prompt_tokens
    assert line["completion_tokens"] == used.completion_tokens

    assert "nightly" in run(
        "key", "create", "--name", "nightly", "--subject", "x", "--tenant", "search", fails=True
    )
    run("key", "revoke", key["id"])
    deadline = time.monotonic() + REVOKED_WITHIN_S * slowness()
    with pytest.raises(openai.AuthenticationError):  # noqa: PT012  (asked until it is)
        while time.monotonic() < deadline:
            client.models.list()
            time.sleep(0.1)


def test_limit_that_is_set_holds_and_goes_again(application: Application, run: Run) -> None:
    key = run("key", "create", "--name", "greedy", "--subject", "greedy")
    of_key = ("--scope", "key", "--name", key["id"])
    run("limits", "set", "requests_per_minute", "1", *of_key)
    headers = {"authorization": f"Bearer {key['key']}"}
    body = {"model": "demo-chat", "messages": QUESTION, "max_tokens": 1}

    def status_becomes(wanted: int) -> httpx.Response:
        deadline = time.monotonic() + 2 * REVOKED_WITHIN_S * slowness()
        while time.monotonic() < deadline:
            response = httpx.post(f"{application.url}/v1/chat/completions", json=body, headers=headers)
            if response.status_code == wanted:
                return response
            time.sleep(0.1)
        pytest.fail(f"never {wanted}: {response.status_code} {response.text}")

    refused = status_becomes(429)
    assert refused.headers["x-ratelimit-limit-requests"] == "1"
    assert int(refused.headers["retry-after"]) >= 1
    run("limits", "unset", "requests_per_minute", *of_key)
    status_becomes(200)


def test_administration_is_closed_to_everyone_else(application: Application, http: httpx.Client) -> None:
    for path in ("keys", "usage", "limits", "models", "revocations"):
        assert httpx.get(f"{application.url}/admin/v1/{path}").status_code == 401
        assert http.get(f"/admin/v1/{path}").status_code == 403


def test_models_are_shown_with_their_state(application: Application, config: Path) -> None:
    from serve_app.cli.token import issue
    from serve_app.serve_file import load

    token = issue(load(config).app.auth, "root", ["admin"], 60)
    answer = httpx.get(f"{application.url}/admin/v1/models", headers={"authorization": f"Bearer {token}"})
    assert {(model["id"], model["state"]) for model in answer.json()["data"]} >= {("demo-chat", "hot")}
