"""HTTPS in front of the ingress: TLS 1.3 alone, HTTP/2, and certificates that may change meanwhile.

Ray has no setting for certificates of its HAProxy. The script that Ray starts as HAProxy (`haproxy.py`) puts
these lines in the place of the one that listens. See docs/decisions/0021-tls.md.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cluster.local import certificate
from cluster.local.failure import LaunchFailed

BUNDLE: Final = "tls.pem"
"""Name of the file with key and chain that HAProxy reads."""

LINES: Final = "tls.cfg"
"""Name of the file with the lines of HAProxy's configuration."""

_LOOPBACK: Final = "127.0.0.1"
_REQUEST_HEAD_S: Final = 30
"""For a client to send the head of a request; Ray gives it without end, which is well on loopback only."""

_CURVES: Final = "X25519:P-256:P-384"
_SOCKET_BOUND_S: Final = 5.0
_NO_SPACE: Final = " \t\n\"'\\#"


@dataclass(frozen=True, slots=True)
class Tls:
    """How HTTPS is served.

    Attributes:
        host: The address.
        port: The port.
        certificate_file: The chain in PEM form, the server's own certificate first.
        key_file: Its key.
        authority_file: What clients are to trust, where the certificate was made here.
    """

    host: str
    port: int
    certificate_file: Path
    key_file: Path
    authority_file: Path | None = None

    @property
    def url(self) -> str:
        """Where clients reach it, by a name that the certificate is for.

        Raises:
            LaunchFailed: The certificate cannot be used.
        """
        name = certificate.read(self.certificate_file, self.key_file).name
        if self.authority_file is not None:
            name = _LOOPBACK
        return f"https://{f'[{name}]' if ':' in name else name or self.host}:{self.port}"

    def as_config(self) -> dict[str, Any]:
        """The part `tls` of the application's configuration that says so."""
        files = {"certificate_file": str(self.certificate_file), "key_file": str(self.key_file)}
        return {"host": self.host, "port": self.port, **files}

    def prepare(self, folder: Path, plain_port: int) -> None:
        """Write what HAProxy needs.

        Args:
            folder: Where; its path has no space.
            plain_port: Of the application without TLS, from now on on this machine alone.

        Raises:
            LaunchFailed: The certificate cannot be used.
        """
        if any(character in str(folder) for character in _NO_SPACE):
            raise LaunchFailed(
                f"HAProxy cannot read files in {folder}; choose a folder without such characters"
            )
        chosen = certificate.read(self.certificate_file, self.key_file)
        certificate.write_private(folder / BUNDLE, chosen.bundle)
        host = "*" if self.host in ("", "0.0.0.0") else self.host  # noqa: S104  (compared, not bound)
        (folder / LINES).write_text(
            f"    bind {_LOOPBACK}:{plain_port}\n"
            f"    bind {host}:{self.port} ssl crt {folder / BUNDLE} ssl-min-ver TLSv1.3 curves {_CURVES}"
            " alpn h2,http/1.1\n"
            f"    timeout http-request {_REQUEST_HEAD_S}s\n",
            encoding="utf-8",
        )


def secure(config: Mapping[str, Any], http_host: str, folder: Path, port: int | None = None) -> Tls:
    """How HTTPS is to be served; makes a certificate where the configuration names none.

    Args:
        config: The part `tls` of the application's configuration.
        http_host: Of the configuration, for where `tls` names none.
        folder: Where a certificate is made.
        port: In place of the configuration's.

    Raises:
        LaunchFailed: No certificate can be made.
    """
    certificate_file, key_file = config["certificate_file"], config["key_file"]
    authority_file = None
    if certificate_file is None:
        certificate.ensure_made(folder)
        certificate_file, key_file = folder / certificate.CERTIFICATE, folder / certificate.KEY
        authority_file = (folder / certificate.AUTHORITY).resolve()
    return Tls(
        config["host"] or http_host,
        port or config["port"],
        Path(certificate_file).resolve(),
        Path(key_file).resolve(),
        authority_file,
    )


class CertificateWatch:
    """Hands a changed certificate to HAProxy, which goes on with its connections meanwhile.

    Args:
        tls: The files to look at.
        bundle: The file that HAProxy has read, and reads again when Ray starts it anew.
        sockets: The admin sockets of the HAProxys that run now.
    """

    def __init__(self, tls: Tls, bundle: Path, sockets: Callable[[], Iterable[Path]]) -> None:
        self._tls = tls
        self._bundle = bundle
        self._sockets = sockets
        self._seen = self._stamps()
        self._told = ""

    def look(self) -> str | None:
        """Look once, and put a changed certificate in force.

        Returns:
            What to tell: that it was done, or once why it was not; the certificate before stays then.
        """
        stamps = self._stamps()
        if stamps == self._seen:
            return None
        try:
            chosen = certificate.read(self._tls.certificate_file, self._tls.key_file)
            self._put_in_force(chosen.bundle)
        except (LaunchFailed, OSError) as error:
            # Files are written one after the other, and HAProxy may be starting: the next look tries again.
            return self._tell(f"the certificate before stays in force: {error}")
        self._seen, self._told = stamps, ""
        return f"a new certificate is in force, until {chosen.expires:%Y-%m-%d}"

    def _put_in_force(self, content: bytes) -> None:
        before = self._bundle.read_bytes()
        # First the file: a HAProxy that Ray starts between the two steps is not to read the one before.
        certificate.write_private(self._bundle, content)
        try:
            for admin in self._sockets():
                _commit(admin, self._bundle, content)
        except LaunchFailed:
            certificate.write_private(self._bundle, before)
            raise

    def _tell(self, what: str) -> str | None:
        if what == self._told:
            return None
        self._told = what
        return what

    def _stamps(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(file) for file in (self._tls.certificate_file, self._tls.key_file))


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _commit(admin: Path, bundle: Path, content: bytes) -> None:
    """Two steps: HAProxy checks what it is given before it takes it.

    Raises:
        LaunchFailed: It does not take it.
        OSError: It does not answer.
    """
    text = content.decode("ascii").strip()
    try:
        staged = _ask(admin, f"set ssl cert {bundle} <<\n{text}\n")
    except (ConnectionRefusedError, FileNotFoundError):
        return  # left by one that runs no more; the next one reads the file
    if "Transaction" not in staged:
        raise LaunchFailed(f"HAProxy does not take it: {staged.strip()}")
    answer = _ask(admin, f"commit ssl cert {bundle}")
    if "Success" not in answer:
        _ask(admin, f"abort ssl cert {bundle}")
        raise LaunchFailed(f"HAProxy does not put it in force: {answer.strip()}")


def _ask(admin: Path, command: str) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_SOCKET_BOUND_S)
        connection.connect(str(admin))
        connection.sendall(f"{command}\n".encode("ascii"))
        parts = []
        while part := connection.recv(4096):
            parts.append(part)
    return b"".join(parts).decode("utf-8", "replace")
