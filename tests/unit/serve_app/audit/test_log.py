"""The audit as the ingress meets it."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from serve_app.audit import Audit, AuditConfig, AuditUnavailable, Outcome
from serve_app.audit.chain import parse
from serve_app.audit.config import ContentConfig
from serve_app.audit.content import unseal
from serve_app.audit.segment import files_of
from serve_app.audit.signing import read_public
from serve_app.audit.verify import Report, verify
from tests.unit.serve_app.audit.conftest import NOON, RECORD, Clock, numbered

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def config(tmp_path: Path) -> AuditConfig:
    return AuditConfig(directory=tmp_path / "audit", signing_key_file=tmp_path / "audit.key")


@contextmanager
def running(config: AuditConfig, clock: Callable[[], float] = time.time) -> Iterator[Audit]:
    audit = Audit.open(config, "host", clock)
    try:
        yield audit
    finally:
        audit.close()


def check(config: AuditConfig) -> Report:
    (report,) = verify(config.directory, read_public([config.signing_key_file]))
    return report


def records(config: AuditConfig) -> list[dict[str, object]]:
    lines = (
        line for path in files_of(config.directory / "host.0") for line in path.read_bytes().splitlines()
    )
    return [said for said in map(parse, lines) if said["kind"] == "record"]


def test_what_is_written_is_there_in_order(config: AuditConfig) -> None:
    with running(config) as audit:
        assert all(audit.write(numbered(number)) for number in range(1000))
        assert audit.flush()
        assert audit.queued == 0
        assert [said["request_id"] for said in records(config)] == [f"req-{n}" for n in range(1000)]
        assert check(config).unsigned == 0
        assert audit.safe_seq == 1000
    assert check(config).problem is None


def test_record_is_safe_without_being_asked_for(config: AuditConfig) -> None:
    with running(config.model_copy(update={"fsync_interval_s": 0.05})) as audit:
        audit.write(RECORD)
        deadline = time.monotonic() + 10
        while audit.safe_seq < 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_write_costs_the_caller_microseconds(config: AuditConfig) -> None:
    with running(config) as audit:
        costs = []
        for _ in range(200):
            begin = time.perf_counter()
            for _ in range(10):
                audit.admit()
                audit.write(RECORD)
            costs.append((time.perf_counter() - begin) / 10)
    assert statistics.median(costs) < 50e-6  # measured: 1 us; a busy machine gets some room


def test_full_disk_loses_nothing_that_was_accepted_and_refuses_the_rest(
    config: AuditConfig, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "tests.unit.serve_app.audit.full_disk", str(config.directory)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "File too large" in ended.stdout
    assert [said["request_id"] for said in records(config)] == [f"req-{n}" for n in range(202)]
    report = check(config)
    assert (report.problem, report.unrecorded, report.recovered) == (None, 2, 0)


def test_request_is_admitted_without_room_where_that_is_configured(
    config: AuditConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    tight = {"queue_records": 1, "queue_slack_records": 1, "write_delay_s": 0.5}
    for on_full, admitted in (("refuse", False), ("drop", True)):
        with running(config.model_copy(update={**tight, "on_full": on_full})) as audit:
            while audit.write(RECORD):
                assert audit.queued <= 2
            assert audit.admit() is admitted
            assert audit.unrecorded == (1 if admitted else 2)
    assert check(config).unrecorded == 3


def test_unauthorized_requests_are_one_record_with_a_count(config: AuditConfig) -> None:
    clock = Clock()
    refused = replace(RECORD, outcome=Outcome.UNAUTHORIZED, http_status=401, user_id="", prompt=b"secret")
    with running(config, clock) as audit:
        for second in range(50):
            audit.write(replace(refused, timestamp=NOON + second))
        assert audit.flush()
        assert records(config) == []
        clock.now += 60
        assert audit.flush()
    (said,) = records(config)
    assert (said["count"], said["outcome"], said["until"]) == (50, "unauthorized", "2026-11-24T12:00:49.000Z")


def test_unauthorized_requests_of_the_last_window_are_written_at_the_end(config: AuditConfig) -> None:
    with running(config) as audit:
        audit.write(replace(RECORD, outcome=Outcome.UNAUTHORIZED, timestamp=time.time()))
    assert len(records(config)) == 1


def test_prompt_and_answer_are_not_on_the_disk_without_a_policy(config: AuditConfig) -> None:
    with running(config) as audit:
        audit.write(replace(RECORD, prompt=b"PLAIN-PROMPT", answer=b"PLAIN-ANSWER"))
    assert b"PLAIN" not in b"".join(path.read_bytes() for path in files_of(config.directory / "host.0"))


def test_prompt_and_answer_are_readable_with_the_private_key_only(
    config: AuditConfig, tmp_path: Path
) -> None:
    key = X25519PrivateKey.generate()
    path = tmp_path / "reader.pem"
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    content = ContentConfig(public_key_file=path, queue_bytes=1000)
    with running(config.model_copy(update={"content": content, "write_delay_s": 0.2})) as audit:
        audit.write(replace(RECORD, prompt=b"PLAIN-PROMPT", answer=b"PLAIN-ANSWER"))
        audit.write(replace(numbered(2), prompt=b"PLAIN" * 200))
    first, second = records(config)
    sealed = first["prompt_sealed"]
    assert isinstance(sealed, dict)
    assert unseal(key, sealed, "prompt", "req-1") == b"PLAIN-PROMPT"
    assert "PLAIN" not in str([first, second])
    assert second["content_left_out"] is True


def test_record_that_cannot_be_written_does_not_stop_the_others(config: AuditConfig) -> None:
    with running(config) as audit:
        audit.write(replace(RECORD, latency_ms=float("nan")))
        audit.write(numbered(7))
        assert audit.flush()
        assert audit.healthy
        assert audit.unrecorded == 1
    assert [said["request_id"] for said in records(config)] == ["req-7"]
    assert check(config).unrecorded == 1


def test_folder_that_cannot_be_written_ends_the_start_with_what_to_do(config: AuditConfig) -> None:
    config.directory.parent.joinpath("audit").touch()
    with pytest.raises(AuditUnavailable, match=r"audit\.directory"):
        Audit.open(config, "host")


def test_unfit_key_ends_the_start(config: AuditConfig) -> None:
    config.signing_key_file.write_text("nothing")
    config.signing_key_file.chmod(0o600)
    with pytest.raises(AuditUnavailable, match="no private key"):
        Audit.open(config, "host")
    missing = ContentConfig(public_key_file=Path("/nowhere.pem"))
    with pytest.raises(AuditUnavailable, match="public_key_file"):
        Audit.open(config.model_copy(update={"content": missing}), "host")
