"""What a line says of a request."""

from __future__ import annotations

import json
from dataclasses import replace

from serve_app.audit.record import MAX_TEXT_CHARS, Outcome
from tests.unit.serve_app.audit.conftest import RECORD


def test_named_fields_are_there_even_when_empty() -> None:
    bare = replace(RECORD, user_id="", model="", input_tokens=0, output_tokens=0)
    fields = bare.to_fields()
    names = {"timestamp", "user_id", "model", "input_tokens", "output_tokens", "latency_ms", "status"}
    assert names <= fields.keys()
    assert fields["timestamp"] == "2026-11-24T12:00:00.000Z"


def test_line_says_all_that_is_known() -> None:
    verdict = {"direction": "prompt", "action": "flag", "lexicon_version": "v7"}
    fields = replace(RECORD, ledger_away=True, verdicts=(verdict,)).to_fields()
    assert fields == {
        "timestamp": "2026-11-24T12:00:00.000Z",
        "version": 1,
        "request_id": "req-1",
        "user_id": "zhangsan",
        "model": "qwen2.5-7b",
        "input_tokens": 100,
        "output_tokens": 200,
        "latency_ms": 812.5,
        "status": "success",
        "outcome": "done",
        "http_status": 200,
        "tenant": "research",
        "key_id": "key_1",
        "route": "/v1/chat/completions",
        "task": "chat",
        "alias": "qwen-plus",
        "replica": "ingress#1",
        "client_address": "10.0.0.7",
        "ttft_ms": 90.25,
        "queue_ms": 3.0,
        "bytes_in": 2048,
        "bytes_out": 9000,
        "stream": True,
        "ledger_away": True,
        "verdicts": [verdict],
    }


def test_prompt_and_answer_are_never_fields() -> None:
    line = json.dumps(replace(RECORD, prompt=b"how to", answer=b"like this").to_fields())
    assert "how to" not in line
    assert "like this" not in line


def test_text_of_a_client_is_bounded() -> None:
    fields = replace(RECORD, alias="x" * 1_000_000, request_id="y" * 1000).to_fields()
    assert len(str(fields["alias"])) == len(str(fields["request_id"])) == MAX_TEXT_CHARS


def test_every_outcome_has_a_status() -> None:
    assert {outcome: outcome.status for outcome in Outcome} == {
        Outcome.DONE: "success",
        Outcome.BLOCKED: "blocked",
        Outcome.LIMITED: "refused",
        Outcome.UNAUTHORIZED: "refused",
        Outcome.FORBIDDEN: "refused",
        Outcome.INVALID: "refused",
        Outcome.DISCONNECTED: "aborted",
        Outcome.TIMEOUT: "failed",
        Outcome.FAILED: "failed",
        Outcome.UNAVAILABLE: "failed",
    }
