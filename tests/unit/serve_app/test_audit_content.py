"""Prompts and answers on their way into the audit, and what the content filter said of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from deployments.call import Answer, Usage
from serve_app.audit.config import ContentConfig
from serve_app.audit.content import unseal
from serve_app.config import AppConfig
from serve_app.filtering import Action, FilteringConfig, LexiconConfig
from tests.unit.serve_app.conftest import ScriptedUpstream
from tests.unit.serve_app.test_audit_wiring import (
    CHAT,
    FRAME,
    bearer,
    chain_of,
    changed,
    client_of,
    record_of,
    records,
    serving,
)

KEY = X25519PrivateKey.generate()
PHRASE = "制造炸弹"
MAX_BYTES = 400


@pytest.fixture
def recording(config: AppConfig, tmp_path: Path) -> AppConfig:
    """The configuration with a key for prompts and answers."""
    path = tmp_path / "reader.pem"
    path.write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return changed(config, "audit", content=ContentConfig(public_key_file=path, max_bytes=MAX_BYTES))


@pytest.fixture
def filtering(recording: AppConfig, tmp_path: Path) -> AppConfig:
    """The same, with a phrase that is blocked."""
    file = tmp_path / "violence.txt"
    file.write_text(f"{PHRASE}\n", encoding="utf-8")
    lexicon = LexiconConfig(category="violence", files=(file,), action=Action.BLOCK)
    return recording.model_copy(update={"filtering": FilteringConfig(lexicons=(lexicon,))})


def content(said: dict[str, Any], name: str) -> bytes:
    return unseal(KEY, said[f"{name}_sealed"], name, said["request_id"])


async def test_body_and_answer_are_recorded_as_they_were_sent(
    recording: AppConfig, upstream: ScriptedUpstream
) -> None:
    upstream.reply = Answer(b'{"object":"chat.completion"}', Usage(3, 2))
    said = await record_of(recording, upstream, CHAT)
    assert json.loads(content(said, "prompt")) == CHAT
    assert content(said, "answer") == b'{"object":"chat.completion"}'
    assert not {"prompt_cut", "answer_cut"} & said.keys()
    assert b"Hello" not in b"".join(path.read_bytes() for path in chain_of(recording).iterdir())


async def test_long_stream_is_recorded_up_to_the_bound(
    recording: AppConfig, upstream: ScriptedUpstream
) -> None:
    upstream.items = [*[FRAME] * 100, Usage(7, 100)]
    said = await record_of(recording, upstream, {**CHAT, "stream": True})
    assert content(said, "answer") == (FRAME * 100)[:MAX_BYTES]
    assert said["answer_cut"] is True
    assert said["bytes_out"] > MAX_BYTES


async def test_content_is_neither_kept_nor_recorded_without_a_key(
    config: AppConfig, upstream: ScriptedUpstream
) -> None:
    said = await record_of(config, upstream, CHAT)
    assert not {"prompt_sealed", "answer_sealed", "prompt", "answer"} & said.keys()


async def test_new_key_of_an_administrator_is_no_content(
    recording: AppConfig, upstream: ScriptedUpstream
) -> None:
    async with (
        serving(recording, upstream) as app,
        client_of(app, bearer(recording, "root", "admin")) as client,
    ):
        created = await client.post("/admin/v1/keys", json={"name": "laptop", "subject": "zhangsan"})
        assert created.is_success, created.text
    (said,) = records(recording)
    assert said["route"] == "/admin/v1/keys"
    assert not {"prompt_sealed", "answer_sealed"} & said.keys()


async def test_blocked_prompt_is_recorded_with_what_was_found(
    filtering: AppConfig, upstream: ScriptedUpstream
) -> None:
    body = {**CHAT, "messages": [{"role": "user", "content": PHRASE}]}
    said = await record_of(filtering, upstream, body)
    assert (said["outcome"], said["status"], said["http_status"]) == ("blocked", "blocked", 400)
    assert (said["error_code"], said["input_tokens"]) == ("content_filter", 0)
    (verdict,) = said["verdicts"]
    assert (verdict["direction"], verdict["action"]) == ("prompt", "block")
    assert [each["category"] for each in verdict["findings"]] == ["violence"]
    assert verdict["lexicon_version"]
    assert PHRASE in content(said, "prompt").decode()
    assert "answer_sealed" not in said


async def test_blocked_answer_is_recorded_as_the_client_saw_it(
    filtering: AppConfig, upstream: ScriptedUpstream
) -> None:
    answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": f"So: {PHRASE}"}}]}
    upstream.reply = Answer(json.dumps(answer, ensure_ascii=False).encode(), Usage(3, 2))
    said = await record_of(filtering, upstream, CHAT)
    assert (said["outcome"], said["http_status"], said["output_tokens"]) == ("blocked", 200, 2)
    directions = {each["direction"]: each["action"] for each in said["verdicts"]}
    assert directions == {"prompt": None, "answer": "block"}
    assert PHRASE not in content(said, "answer").decode()
