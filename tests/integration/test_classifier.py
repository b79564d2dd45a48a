"""The classifier as a deployment of its own: what it blocks, and what happens when it is killed under load.

Assumes ``filtering.classifier`` (``JudgeConfig``), and verdicts in the audit with ``filter: classifier``.
"""

from __future__ import annotations

import copy
import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from serve_app.serve_file import keep_files_in
from tests import classifier_model
from tests.integration.conftest import ROOT, Application, running
from tests.integration.test_faults import replicas

pytestmark = pytest.mark.integration

HOLD_MS, TIMEOUT_MS = 2000, 4000
STREAMS = 6
BACK_WITHIN_S = 300
GOOD = "let us go and eat"
BAD = "let us go and eat a bomb"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Application, Path]]:
    """An application with a classifier and two simulated models, one of which writes bad words."""
    folder = tmp_path_factory.mktemp("classifier")
    content = yaml.safe_load((ROOT / "configs" / "simulated.yaml").read_text(encoding="utf-8"))
    args: dict[str, Any] = content["applications"][0]["args"]
    keep_files_in(folder, args)
    good = args["models"][0]
    good["simulation"] |= {"step_s": 0.05, "token_texts": [" the", " weather", " is", " fine", "."]}
    bad = copy.deepcopy(good) | {"id": "simulated-bad"}
    bad["simulation"]["token_texts"] = [" bomb", " bomb", "."]
    args["models"] = [good, bad]
    args["filtering"] = {
        "classifier": {
            "model": {"source": str(classifier_model.build(folder / "model"))},
            "labels": {"toxic": {"threshold": 0.8, "category": "abuse", "action": "block"}},
            "hold_ms": HOLD_MS,
            "timeout_ms": TIMEOUT_MS,
            "on_unavailable": "open",
            "window_chars": 64,
            # Everything is asked each time: an answer from memory would hide that the classifier is away.
            "remembered_windows": 0,
        }
    }
    config = folder / "classifier.yaml"
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    with running(config, folder / "state") as application:
        yield application, folder / "audit"


def ask(
    application: Application, prompt: str, model: str = "simulated-chat", **fields: Any
) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": 20, **fields}
    headers = {"authorization": f"Bearer {application.token}"}
    return httpx.post(f"{application.url}/v1/chat/completions", json=body, headers=headers, timeout=180)


def end_of(response: httpx.Response) -> tuple[str, str | None]:
    """A stream's text, and why it ended."""
    assert response.status_code == 200, response.text
    assert response.text.endswith("data: [DONE]\n\n")
    text, reason = "", None
    for line in response.text.split("\n\n"):
        for choice in json.loads(line[6:]).get("choices", ()) if line.startswith("data: {") else ():
            text += choice["delta"].get("content") or ""
            reason = choice["finish_reason"] or reason
    return text, reason


def verdict(audit: Path, request_id: str, direction: str) -> dict[str, Any]:
    """What the audit says of the classifier, for one request."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for file in audit.rglob("*.jsonl"):
            for line in file.read_text(encoding="utf-8").splitlines():
                for one in json.loads(line).get("verdicts", ()) if request_id in line else ():
                    if one.get("filter") == "classifier" and one["direction"] == direction:
                        found: dict[str, Any] = one
                        return found
        time.sleep(0.2)  # between two looks
    pytest.fail(f"the audit has no verdict of the classifier on the {direction} of {request_id}")


@pytest.mark.timeout(1500)
def test_bad_prompt_is_refused_and_the_audit_says_for_what(guarded: tuple[Application, Path]) -> None:
    application, audit = guarded
    assert ask(application, GOOD).status_code == 200
    refused = ask(application, BAD)
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "content_filter"
    assert "abuse" in refused.json()["error"]["message"]
    told = verdict(audit, refused.headers["x-request-id"], "prompt")
    assert (told["action"], told["scanned"], told["unscanned"]) == ("block", "all", [])


@pytest.mark.timeout(1500)
def test_bad_answer_ends_before_it_is_shown(guarded: tuple[Application, Path]) -> None:
    application, audit = guarded
    streamed = ask(application, GOOD, "simulated-bad", stream=True)
    assert end_of(streamed) == ("", "content_filter")
    assert verdict(audit, streamed.headers["x-request-id"], "answer")["action"] == "block"
    whole = ask(application, GOOD, "simulated-bad").json()["choices"][0]
    assert (whole["message"]["content"], whole["finish_reason"]) == ("", "content_filter")


@pytest.mark.timeout(1500)
def test_good_stream_is_whole_and_scanned(guarded: tuple[Application, Path]) -> None:
    application, audit = guarded
    response = ask(application, GOOD, stream=True)
    assert end_of(response)[1] == "length"
    told = verdict(audit, response.headers["x-request-id"], "answer")
    assert (told["action"], told["scanned"]) == (None, "all")


@pytest.mark.timeout(1500)
def test_streams_go_on_when_the_classifier_is_killed_and_the_audit_says_what_was_not_scanned(
    guarded: tuple[Application, Path],
) -> None:
    application, audit = guarded
    assert application.state
    victims = replicas(application.state, "Classifier")
    assert len(victims) == 1
    with ThreadPoolExecutor(STREAMS) as pool:
        # Ten seconds each.
        streams = [
            pool.submit(ask, application, GOOD, stream=True, max_tokens=200, ignore_eos=True)
            for _ in range(STREAMS)
        ]
        time.sleep(3)  # they are under way
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        responses = [stream.result() for stream in streams]
    assert [end_of(response)[1] for response in responses] == ["length"] * STREAMS
    told = [verdict(audit, response.headers["x-request-id"], "answer") for response in responses]
    reasons = {reason for one in told if one["scanned"] == "part" for reason in one["unscanned"]}
    assert reasons
    assert reasons <= {"classifier:late", "classifier:unavailable"}

    deadline = time.monotonic() + BACK_WITHIN_S
    while ask(application, BAD).status_code != 400:
        assert time.monotonic() < deadline, "the classifier has not come back"
        time.sleep(0.5)  # between two looks
