"""The part ``tls`` of the configuration, and what is told of the certificate."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from pydantic import ValidationError

from serve_app.tls import Expiry, TlsConfig, expires_at


def written(path: Path, not_after: datetime) -> Path:
    issued = trustme.CA().issue_cert("a.example", not_after=not_after)
    path.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    return path


def test_certificate_without_a_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="certificate_file and key_file belong together"):
        TlsConfig(certificate_file=Path("a.pem"))


def test_expiry_is_the_certificates(tmp_path: Path) -> None:
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=5)

    assert expires_at(written(tmp_path / "a.pem", ends)) == ends.timestamp()


async def test_expiry_is_told_from_the_start_on_and_follows_the_file(tmp_path: Path) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    file = written(tmp_path / "a.pem", now + timedelta(days=5))
    told: list[float] = []
    expiry = Expiry(file, told.append)

    expiry.start()
    await asyncio.sleep(0)
    written(file, now + timedelta(days=9))
    expiry.look()
    await expiry.close()

    assert told == [(now + timedelta(days=days)).timestamp() for days in (5, 9)]


def test_missing_certificate_is_logged_once_and_nothing_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[float] = []
    expiry = Expiry(tmp_path / "none.pem", told.append)

    with caplog.at_level(logging.WARNING, "ray.serve"):
        expiry.look()
        expiry.look()

    assert told == []
    assert len(caplog.records) == 1
