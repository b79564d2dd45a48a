"""A clock that the test turns, a chain in a folder, and records to put into it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from serve_app.audit.chain import Kind
from serve_app.audit.record import AuditRecord, Outcome
from serve_app.audit.signing import Signer
from serve_app.audit.verify import Report, verify
from serve_app.audit.writer import ChainWriter

NOON = 1_795_521_600.0
"""24 November 2026, 12:00 UTC, seconds since 1970."""
SIGNER = Signer(Ed25519PrivateKey.generate())

RECORD = AuditRecord(
    timestamp=NOON,
    request_id="req-1",
    route="/v1/chat/completions",
    outcome=Outcome.DONE,
    http_status=200,
    latency_ms=812.5,
    user_id="zhangsan",
    tenant="research",
    key_id="key_1",
    task="chat",
    model="qwen2.5-7b",
    alias="qwen-plus",
    input_tokens=100,
    output_tokens=200,
    stream=True,
    ttft_ms=90.25,
    queue_ms=3.0,
    replica="ingress#1",
    client_address="10.0.0.7",
    bytes_in=2048,
    bytes_out=9000,
)


class Clock:
    """Seconds since 1970, as the test says."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


Open = Callable[..., ChainWriter]


@pytest.fixture
def open_writer(tmp_path: Path, clock: Clock) -> Open:
    def open_one(max_file_bytes: int = 1 << 20) -> ChainWriter:
        return ChainWriter.open(tmp_path / "audit", "host", SIGNER, max_file_bytes, clock)

    return open_one


def numbered(number: int) -> AuditRecord:
    """A record unlike the others."""
    return replace(RECORD, request_id=f"req-{number}")


def put(writer: ChainWriter, count: int, begin: int = 0) -> None:
    """Write records, each handed to the operating system by itself."""
    for number in range(begin, begin + count):
        writer.write()
        writer.add(Kind.RECORD, numbered(number).to_fields())


def check(directory: Path) -> Report:
    """The report on the only chain."""
    (report,) = verify(directory, SIGNER.verifier)
    return report
