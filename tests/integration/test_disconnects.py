"""A client that leaves, at every stage of its request: it pays once, for what the engine has made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest
import yaml

from serve_app.cli.token import issue
from serve_app.serve_file import keep_files_in, load
from tests.integration.conftest import ROOT, Application, running
from tests.integration.test_operation import eventually, told
from tests.machine import slowness

pytestmark = pytest.mark.integration

STEP_S = 0.1
PREFILL_S = 2.0
TOKENS = 30
PROMPT = "Tell me a short story."
URL = "/v1/chat/completions"


@pytest.fixture(scope="module")
def paced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """An engine that takes one request at a time, a tenth of a second a token; each user may have one too."""
    folder = tmp_path_factory.mktemp("disconnects")
    content = yaml.safe_load((ROOT / "configs" / "simulated.yaml").read_text(encoding="utf-8"))
    args: dict[str, Any] = content["applications"][0]["args"]
    keep_files_in(folder, args)
    args["auth"]["roles"] = {"user": {"models": ["*"]}, "admin": {"models": ["*"], "admin": True}}
    args["limits"] = {"rules": [{"scope": "user", "name": "leaver", "concurrent_requests": 1}]}
    paced = args["models"][0] | {"simulation": {"step_s": STEP_S, "max_num_seqs": 1}}
    # A prompt of this model takes its time, whatever its length.
    slow = paced | {
        "id": "slow-prefill",
        "simulation": {"step_s": STEP_S, "prefill_per_token_s": PREFILL_S / 5},
    }
    args["models"] = [paced, slow]
    config = folder / "disconnects.yaml"
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    with running(config, folder / "state") as application:
        yield application


@pytest.fixture(scope="module")
def leaver(paced: Application) -> Iterator[httpx.Client]:
    """The client that leaves; a request of theirs is refused while another is not settled."""
    token = issue(load(paced.config).app.auth, "leaver", ["user", "admin"], 3600)
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=paced.url, headers=headers, timeout=120) as client:
        yield client


def body(model: str = "simulated-chat", tokens: int = TOKENS) -> dict[str, Any]:
    messages = [{"role": "user", "content": PROMPT}]
    return {"model": model, "messages": messages, "max_tokens": tokens, "stream": True}


def leave_after(client: httpx.Client, name: str, asked: dict[str, Any], frames: int | None) -> None:
    """Leave once so many frames with text are there; None: once the last of them, with its reason, is."""
    read = 0
    with client.stream("POST", URL, json=asked, headers={"x-request-id": name}) as response:
        assert response.status_code == 200, response.read()
        for line in response.iter_lines():
            choice = json.loads(line.removeprefix("data: "))["choices"][0] if '"choices":[{' in line else {}
            read += bool(choice.get("delta", {}).get("content"))
            if read == frames or choice.get("finish_reason"):
                return


def leave_unanswered(client: httpx.Client, name: str, asked: dict[str, Any], after_s: float) -> None:
    with pytest.raises(httpx.ReadTimeout):
        client.post(URL, json=asked, headers={"x-request-id": name}, timeout=after_s)


def test_client_that_leaves_pays_once_for_what_was_made(paced: Application, leaver: httpx.Client) -> None:
    assert paced.state is not None
    state = paced.state
    # What the engine makes until it hears that the client has gone: a second's worth.
    late = round(slowness() / STEP_S)
    lines: dict[str, dict[str, Any]] = {}

    def billed(name: str) -> tuple[int, int]:
        (lines[name],) = eventually(partial(told, state, name))
        return lines[name]["input_tokens"], lines[name]["output_tokens"]

    # Whole once, to know the prompt's tokens.
    leaver.post(URL, json=body(tokens=1), headers={"x-request-id": "whole"}).raise_for_status()
    prompt, made = billed("whole")
    assert (prompt > 0, made) == (True, 1)

    other = {"authorization": f"Bearer {paced.token}"}
    with httpx.stream("POST", f"{paced.url}{URL}", json=body(tokens=300), headers=other, timeout=60) as ahead:
        assert ahead.status_code == 200, ahead.read()
        coming = ahead.iter_lines()  # kept: what forgets it hangs up
        next(coming)
        leave_unanswered(leaver, "queued", body(), 1.0)
        assert billed("queued") == (0, 0)
    leave_unanswered(leaver, "prefill", body("slow-prefill"), PREFILL_S / 2)
    assert billed("prefill") == (0, 0)
    leave_after(leaver, "first-token", body(), 1)
    read, made = billed("first-token")
    assert read == prompt
    assert 1 <= made <= 1 + late
    leave_after(leaver, "mid-stream", body(), 10)
    read, made = billed("mid-stream")
    assert read == prompt
    assert 10 <= made <= 10 + late
    leave_after(leaver, "last-frame", body(), None)
    assert billed("last-frame") == (prompt, TOKENS)

    # What has used nothing is no usage.
    paid = [line for line in lines.values() if line["input_tokens"]]
    assert len(paid) == len(lines) - 2

    def counted() -> bool:
        answer = leaver.get("/admin/v1/usage", params={"by": "user"}).json()["data"]
        of_leaver = next((row for row in answer if row["user"] == "leaver"), {"requests": 0})
        if of_leaver["requests"] < len(paid):
            return False
        assert of_leaver["requests"] == len(paid)
        assert of_leaver["prompt_tokens"] == sum(line["input_tokens"] for line in paid)
        assert of_leaver["completion_tokens"] == sum(line["output_tokens"] for line in paid)
        return True

    assert eventually(counted, 300)
