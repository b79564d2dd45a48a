"""Certificates: which are taken, and the one that is made on the spot."""

from __future__ import annotations

import os
import ssl
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from cluster.local import certificate
from cluster.local.failure import LaunchFailed


def written(
    folder: Path, name: str, *, not_before: datetime | None = None, not_after: datetime | None = None
) -> tuple[Path, Path]:
    """A certificate of some authority and its key, in files."""
    issued = trustme.CA().issue_cert(name, not_before=not_before, not_after=not_after)
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    paths[1].write_bytes(issued.private_key_pem.bytes())
    return paths


def test_chain_and_key_become_one_file_without_empty_lines(tmp_path: Path) -> None:
    certificate_file, key_file = written(tmp_path, "model.example")

    read = certificate.read(certificate_file, key_file)

    assert read.name == "model.example"
    assert read.bundle.count(b"PRIVATE KEY") == 2
    assert b"\n\n" not in read.bundle, "HAProxy takes an empty line for the end"


def test_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    certificate_file, _ = written(tmp_path, "a.example")
    _, key_file = written(tmp_path, "b.example")

    with pytest.raises(LaunchFailed, match=r"b\.example\.key is not the key of the first certificate"):
        certificate.read(certificate_file, key_file)


def test_certificate_that_does_not_hold_now_is_refused(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    old = written(tmp_path, "old", not_before=now - timedelta(days=9), not_after=now - timedelta(days=2))
    new = written(tmp_path, "new", not_before=now + timedelta(days=2), not_after=now + timedelta(days=9))

    with pytest.raises(LaunchFailed, match="has expired on"):
        certificate.read(*old)
    with pytest.raises(LaunchFailed, match="holds only from"):
        certificate.read(*new)


def test_files_that_are_none_are_named(tmp_path: Path) -> None:
    certificate_file, key_file = written(tmp_path, "a.example")

    with pytest.raises(LaunchFailed, match=r"cannot read the certificate .*none\.pem: No such file"):
        certificate.read(tmp_path / "none.pem", key_file)
    with pytest.raises(LaunchFailed, match=r"holds no certificate in PEM form"):
        certificate.read(key_file, key_file)
    with pytest.raises(LaunchFailed, match=r"holds no private key in PEM form"):
        certificate.read(certificate_file, certificate_file)


def test_made_certificate_is_strictly_valid_for_this_machine(tmp_path: Path) -> None:
    certificate.ensure_made(tmp_path / "tls")

    folder = tmp_path / "tls"
    assert (folder / certificate.KEY).stat().st_mode & 0o077 == 0
    assert folder.stat().st_mode & 0o077 == 0
    for name in ("-verify_hostname=localhost", "-verify_ip=127.0.0.1", "-verify_ip=::1"):
        option, _, value = name.partition("=")
        subprocess.run(
            [
                *("openssl", "verify", "-x509_strict", "-purpose", "sslserver", option, value),
                *("-CAfile", str(folder / certificate.AUTHORITY), str(folder / certificate.CERTIFICATE)),
            ],
            check=True,
            capture_output=True,
        )
    context = ssl.create_default_context(cafile=str(folder / certificate.AUTHORITY))
    assert len(context.get_ca_certs()) == 1


def test_authority_of_the_made_certificate_left_no_key(tmp_path: Path) -> None:
    certificate.ensure_made(tmp_path)

    assert sorted(os.listdir(tmp_path)) == sorted(
        [certificate.AUTHORITY, certificate.CERTIFICATE, certificate.KEY]
    )
    assert b"PRIVATE" not in (tmp_path / certificate.AUTHORITY).read_bytes()
    with pytest.raises(LaunchFailed, match="is not the key"):
        certificate.read(tmp_path / certificate.AUTHORITY, tmp_path / certificate.KEY)


def test_made_certificate_is_kept_while_it_holds_for_a_while(tmp_path: Path) -> None:
    certificate.ensure_made(tmp_path)
    before = (tmp_path / certificate.CERTIFICATE).read_bytes()

    certificate.ensure_made(tmp_path)
    assert (tmp_path / certificate.CERTIFICATE).read_bytes() == before

    now = datetime.now(UTC)
    soon, key = written(tmp_path, "soon", not_after=now + timedelta(days=20))
    soon.replace(tmp_path / certificate.CERTIFICATE)
    key.replace(tmp_path / certificate.KEY)
    certificate.ensure_made(tmp_path)
    held = certificate.read(tmp_path / certificate.CERTIFICATE, tmp_path / certificate.KEY)
    assert held.expires.timestamp() > time.time() + 80 * 86400
