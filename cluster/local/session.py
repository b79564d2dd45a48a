"""A session: one run of the application on this machine, at most one per state folder."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cluster.local import processes
from cluster.local.failure import LaunchFailed
from cluster.local.processes import Ending

GRACE_S = 5.0
"""Between the request to stop and the kill, seconds. The application is down by then; what is left is Ray's
own and keeps nothing of value."""

_RECORD = "session.json"
_LOCK = "session.lock"
_POLL_S = 0.1
# A socket's path holds 107 bytes (unix(7)), of which Ray's own part takes up to 75, and HAProxy's, in the
# private folder, up to 74.
_LONGEST_TEMP_ROOT = 20
_STOP_BOUND_S = 90.0
_PORTS_APART = 100


@dataclass(frozen=True, slots=True)
class Session:
    """A session that is under way, or was when its launcher was killed.

    Attributes:
        id: Marks every process of it.
        launcher: Process id of the launcher.
        temp_dir: Ray's files: sockets, logs, objects put aside. Ray opens it to everybody on this machine.
        folder: The state folder, with the logs that outlive the session.
        port: Where HTTP is served.
        tls: The part `tls` of the application's configuration; None for plain HTTP.
    """

    id: str
    launcher: int
    temp_dir: Path
    folder: Path
    port: int
    tls: Mapping[str, Any] | None = None

    @property
    def ports_above(self) -> int:
        """How far above the usual ones this session looks for ports beside HTTP's.

        Sessions that start at the same time have different ports for HTTP, and so do not choose the same
        ones, which are free as long as neither uses them.
        """
        return self.port % _PORTS_APART

    @property
    def logs(self) -> Path:
        """The folder with the logs of this session, or of the last one."""
        return self.folder / "logs"

    @property
    def ray_logs(self) -> Path:
        """Ray's own logs while the session runs; replicas and engines write there."""
        return self.temp_dir / "session_latest" / "logs"

    @property
    def private_dir(self) -> Path:
        """Files of the session that are nobody else's business; beside Ray's, which Ray opens to all."""
        return self.temp_dir.with_name(f"{self.temp_dir.name}p")

    @property
    def token_file(self) -> Path:
        """The token without which nobody may talk to this session's Ray."""
        return self.private_dir / "token"

    @property
    def dashboard_file(self) -> Path:
        """Where the address of this session's dashboard stands, once it has one."""
        return self.temp_dir / "dashboard"


@contextlib.contextmanager
def begin(folder: Path, port: int, tls: Mapping[str, Any] | None = None) -> Iterator[Session]:
    """A new session; what is left of an earlier one is cleared first, and of this one at the end.

    Args:
        folder: The state folder.
        port: Where HTTP is served.
        tls: The part `tls` of the application's configuration, where it has one.

    Raises:
        LaunchFailed: A session of this folder is running.
    """
    with _locked(folder):
        clear(folder)
        session = Session(secrets.token_hex(16), os.getpid(), _make_temp_dir(), folder.resolve(), port, tls)
        _write_record(session)
        shutil.rmtree(session.logs, ignore_errors=True)
        session.logs.mkdir(parents=True)
        (session.logs / "ray").symlink_to(session.ray_logs)
        session.private_dir.mkdir(0o700)
        session.token_file.touch(0o600)
        session.token_file.write_text(secrets.token_hex(32), encoding="ascii")
        try:
            yield session
        finally:
            clear(folder)


def clear(folder: Path, *, grace_s: float = GRACE_S) -> Ending | None:
    """End the processes of the folder's last session, keep its logs, remove the rest.

    Does nothing when there is nothing left. The caller knows that no launcher is at work on it.
    """
    session = recorded(folder)
    if session is None:
        return None
    ending = processes.end(session.id, grace_s=grace_s)
    _keep_logs(session)
    for used in (session.temp_dir, session.private_dir):
        shutil.rmtree(used, ignore_errors=True)
    (folder / _RECORD).unlink(missing_ok=True)
    return ending


def stop(folder: Path) -> str:
    """Stop the folder's session, whether its launcher is alive or not; tells what was done.

    Raises:
        LaunchFailed: The launcher does not stop.
    """
    session = recorded(folder)
    if session is None:
        return "nothing is running"
    deadline = time.monotonic() + _STOP_BOUND_S
    asked = False
    while time.monotonic() < deadline:
        try:
            with _locked(folder):
                ending = clear(folder)
        except LaunchFailed:
            launcher = processes.read(session.launcher)
            if launcher is not None and not asked:
                processes.send(launcher, signal.SIGTERM)
                asked = True
            time.sleep(_POLL_S)
            continue
        return "stopped" if ending is None else f"cleared what was left: {ending.ended} processes"
    raise LaunchFailed(f"the launcher (process {session.launcher}) does not stop; end it with kill -9")


def recorded(folder: Path) -> Session | None:
    """The session that the folder's record names; None where there is none or it cannot be read."""
    try:
        fields = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        return Session(
            str(fields["id"]),
            int(fields["launcher"]),
            Path(fields["temp_dir"]),
            folder.resolve(),
            int(fields["port"]),
            fields.get("tls"),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the system lets go of it however the holder ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            running = recorded(folder)
            where = f" on port {running.port} (process {running.launcher})" if running else ""
            raise LaunchFailed(
                f"the application is already running{where}; stop it with `make stop`"
            ) from None
        yield


def _make_temp_dir() -> Path:
    root = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="qs-", dir=root if len(root) <= _LONGEST_TEMP_ROOT else "/tmp"))  # noqa: S108


def _write_record(session: Session) -> None:
    fields = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(session).items()}
    beside = session.folder / f".{_RECORD}"
    beside.write_text(json.dumps(fields), encoding="utf-8")
    beside.replace(session.folder / _RECORD)


def _keep_logs(session: Session) -> None:
    """Put Ray's logs in the place of the link to them."""
    kept = session.logs / "ray"
    if kept.is_symlink() and session.ray_logs.is_dir():
        kept.unlink()
        shutil.copytree(session.ray_logs, kept, ignore_dangling_symlinks=True)
