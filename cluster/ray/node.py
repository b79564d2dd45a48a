"""A bare machine that `ray start` joins to a cluster: HAProxy as the launcher has it on a single machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from cluster.local.failure import LaunchFailed
from cluster.local.haproxy import PORTS, HaProxy
from cluster.local.serve_file import ServeFile

ENVIRONMENT: Final = "environment"
"""Name of the file with the variables that `ray start` is to have."""

_LOOK_S: Final = 1.0
_QUOTED: Final = str.maketrans({"\\": "\\\\", '"': '\\"'})


def prepare(file: ServeFile, proxy: HaProxy, folder: Path, variables: Mapping[str, str]) -> Path:
    """Write what Ray needs on this machine to serve by HAProxy.

    Args:
        file: The configuration to be served.
        proxy: In front of the ingress.
        folder: Where; made for its owner only. It holds a program, which many a /run does not allow.
        variables: Further ones that Ray is to have.

    Returns:
        The file with the variables, as systemd's EnvironmentFile and a shell's `set -a` take it.

    Raises:
        LaunchFailed: HAProxy cannot serve this configuration, or the folder cannot be used.
    """
    if file.host not in ("0.0.0.0", "::"):  # noqa: S104  (compared, not bound)
        raise LaunchFailed(
            f"http_options.host is {file.host}, where no other machine reaches the ingress; set it to "
            "0.0.0.0 (where `tls` is set, HAProxy's own port for plain HTTP stays on 127.0.0.1)"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        ports = {name: int(os.environ.get(name, usual)) for name, usual in PORTS.items()}
        told = {**variables, **proxy.install(file, folder.resolve(), ports, os.environ)}
        environment = folder / ENVIRONMENT
        lines = (f'{name}="{value.translate(_QUOTED)}"\n' for name, value in sorted(told.items()))
        environment.write_text("".join(lines), encoding="utf-8")
    except (OSError, ValueError) as error:
        raise LaunchFailed(f"cannot prepare {folder}: {error}") from error
    return environment


def watch_certificates(
    proxy: HaProxy, folder: Path, tell: Callable[[str], None], until: Callable[[], bool] = lambda: False
) -> None:
    """Hand changed certificates to this machine's HAProxy, without end.

    Args:
        proxy: As it was prepared, with TLS.
        folder: Where.
        tell: Told what was done, or why not.
        until: Asked after each look; true ends it.
    """
    certificates = proxy.watch(folder.resolve())
    if certificates is None:
        raise LaunchFailed("there is no certificate to watch: the configuration has no `tls`")
    while not until():
        if news := certificates.look():
            tell(news)
        time.sleep(_LOOK_S)
