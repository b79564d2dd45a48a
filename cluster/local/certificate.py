"""A certificate and its key: read and checked, or made on the spot for this machine."""

from __future__ import annotations

import ipaddress
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cluster.local.failure import LaunchFailed

CERTIFICATE: Final = "certificate.pem"
KEY: Final = "key.pem"
AUTHORITY: Final = "ca.pem"
"""Names of the files of a certificate that was made here."""

_VALID: Final = timedelta(days=89)
"""Below the 90 days of Mozilla's modern profile."""
_RENEWED_BEFORE: Final = timedelta(days=30)
_CLOCKS_APART: Final = timedelta(hours=1)
_LOOPBACK: Final = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that holds, with its key.

    Attributes:
        bundle: Key and chain in PEM form, as HAProxy takes them: without an empty line.
        name: The first name that it is for, and that a client can be given; empty where there is none.
        expires: When the first of the chain does.
    """

    bundle: bytes
    name: str
    expires: datetime


def read(certificate_file: Path, key_file: Path) -> Certificate:
    """Read a chain, the server's own certificate first, and the key that belongs to it.

    Raises:
        LaunchFailed: A file cannot be read, they do not belong together, or one of the chain does not hold
            at this moment.
    """
    chain = _chain(certificate_file)
    key = _key(key_file)
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if chain[0].public_key().public_bytes(*form) != key.public_key().public_bytes(*form):
        raise LaunchFailed(
            f"{key_file} is not the key of the first certificate in {certificate_file}; the server's own "
            "certificate comes first, those of authorities after it"
        )
    now = datetime.now(UTC)
    expires = min(one.not_valid_after_utc for one in chain)
    begins = max(one.not_valid_before_utc for one in chain)
    if not begins <= now <= expires:
        what = f"has expired on {expires:%Y-%m-%d}" if now > expires else f"holds only from {begins:%Y-%m-%d}"
        raise LaunchFailed(f"a certificate in {certificate_file} {what}; put one that holds in its place")
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Certificate(
        text + b"".join(one.public_bytes(Encoding.PEM) for one in chain), _name(chain[0]), expires
    )


def ensure_made(folder: Path) -> None:
    """Make a certificate for this machine's own names, where none is there that holds for a while.

    It is signed by an authority of its own, whose key is forgotten at once: who trusts the authority trusts
    this one certificate, and nobody can make another.

    Raises:
        LaunchFailed: The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if _holds_for_a_while(folder):
            return
        authority, certificate, key = _make()
        _write(folder / AUTHORITY, authority)
        _write(folder / KEY, key, private=True)
        _write(folder / CERTIFICATE, certificate)
    except OSError as error:
        raise LaunchFailed(f"cannot make a certificate in {folder}: {error.strerror}") from error


def _holds_for_a_while(folder: Path) -> bool:
    if not (folder / AUTHORITY).is_file():
        return False
    try:
        return read(folder / CERTIFICATE, folder / KEY).expires - _RENEWED_BEFORE > datetime.now(UTC)
    except LaunchFailed:
        return False


def _chain(file: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())
    except OSError as error:
        raise LaunchFailed(f"cannot read the certificate {file}: {error.strerror}") from error
    except ValueError as error:
        raise LaunchFailed(f"{file} holds no certificate in PEM form") from error


def _key(file: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(file.read_bytes(), None)
    except OSError as error:
        raise LaunchFailed(f"cannot read the key {file}: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise LaunchFailed(f"{file} holds no private key in PEM form without a password") from error
    # Of whatever kind it is; every kind that a certificate can have offers what is asked of it here.
    return key  # type: ignore[return-value]


def _name(certificate: x509.Certificate) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    hosts = [name for name in names.get_values_for_type(x509.DNSName) if "*" not in name]
    return next(iter([*hosts, *map(str, names.get_values_for_type(x509.IPAddress))]), "")


def _make() -> tuple[bytes, bytes, bytes]:
    """An authority, a certificate of its and the certificate's key, in PEM form."""
    now = datetime.now(UTC)
    host = socket.gethostname()
    signer, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"qwen-serve on {host}"[:64])])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in dict.fromkeys(["localhost", host])]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in _LOOPBACK]

    def begin(
        name: x509.Name, public: ec.EllipticCurvePublicKey, *, authority: bool
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder(issuer, name, public, x509.random_serial_number())
            .not_valid_before(now - _CLOCKS_APART)
            .not_valid_after(now + _VALID)
            .add_extension(x509.BasicConstraints(authority, 0 if authority else None), critical=True)
            .add_extension(_usage(authority=authority), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
            )
        )

    authority = begin(issuer, signer.public_key(), authority=True).sign(signer, hashes.SHA256())
    certificate = (
        begin(subject, key.public_key(), authority=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return (
        authority.public_bytes(Encoding.PEM),
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write(path: Path, content: bytes, *, private: bool = False) -> None:
    """Whole or not at all: somebody may read it at this moment."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(
        beside, "wb", opener=lambda name, flags: os.open(name, flags, 0o600 if private else 0o644)
    ) as file:
        file.write(content)
    beside.replace(path)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    _write(path, content, private=True)
