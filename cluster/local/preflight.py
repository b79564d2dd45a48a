"""What must hold before anything is started: a free port, memory, disk, and the models' folders."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
from collections.abc import Iterable
from pathlib import Path

from cluster.local.failure import LaunchFailed
from cluster.local.memory import GIB, available_bytes
from cluster.local.serve_file import ServedModel, ServeFile

BASE_BYTES = 2 * GIB
"""Ray and the ingress."""
MODEL_BYTES = int(1.5 * GIB)
"""A replica with its engine, weights not counted. Measured for the four demonstration models with all else:
5.2 GiB, shared pages counted once."""
DISK_BYTES = 2 * GIB
"""Logs, and what Ray puts aside."""
SHARED_BYTES = 32 * 1024**2
"""Semaphores and queues of the engines. Ray's object store moves to the disk where it does not fit."""
_DEV_SHM = Path("/dev/shm")  # noqa: S108  (asked for its size, never written)
_ANOTHER_PORT = "choose another: make serve PORT=8001"
_WEIGHT_SUFFIXES = (".safetensors", ".bin")


def check(file: ServeFile, temp_dir: Path) -> None:
    """Everything below, in the order in which it is cheapest to put right.

    Raises:
        LaunchFailed: The first thing that does not hold, and what to do about it.
    """
    check_port(file.host, file.port)
    check_models(file.models)
    check_memory(needed_bytes(file.models), available_bytes())
    check_disk(temp_dir)
    check_shared_memory()


def check_port(host: str, port: int, instead: str = _ANOTHER_PORT) -> None:
    """The port can be bound.

    Args:
        host: The address.
        port: The port.
        instead: How to choose another one.

    Raises:
        LaunchFailed: It cannot; names the process that holds it, where that can be seen.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            number = getattr(error, "errno", None)
            raise LaunchFailed(_port_message(host, port, number, instead)) from error


def check_models(models: Iterable[ServedModel]) -> None:
    """Models that are folders are there.

    Raises:
        LaunchFailed: Names the first that is not.
    """
    for model in models:
        if model.folder is not None and not (model.folder / "config.json").is_file():
            raise LaunchFailed(
                f"model {model.id}: there is no checkpoint in {model.source}; "
                "`make demo` makes the demonstration models"
            )


def needed_bytes(models: Iterable[ServedModel]) -> int:
    """Memory that the application will take, in bytes: an estimate, rather high than low."""
    models = tuple(models)
    always = sum(_model_bytes(model) for model in models if model.always)
    # Of the others one at least will be loaded; how many more is the fleet's business.
    return BASE_BYTES + always + max((_model_bytes(model) for model in models if not model.always), default=0)


def _model_bytes(model: ServedModel) -> int:
    return MODEL_BYTES + _weight_bytes(model)


def check_memory(needed: int, available: int) -> None:
    """There is enough memory, in bytes.

    Raises:
        LaunchFailed: There is not.
    """
    if available < needed:
        raise LaunchFailed(
            f"too little memory: about {needed / GIB:.1f} GiB are needed and {available / GIB:.1f} GiB are "
            "available; end other programs, or serve fewer models (remove some from the configuration)"
        )


def check_disk(folder: Path, needed: int = DISK_BYTES) -> None:
    """There is enough space for logs and for what Ray puts aside, in bytes.

    Raises:
        LaunchFailed: There is not.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise LaunchFailed(
            f"too little disk: {free / GIB:.1f} GiB are free in {folder} and {needed / GIB:.1f} GiB are "
            "needed; make room, or set TMPDIR to a folder on a larger disk"
        )


def check_shared_memory(needed: int = SHARED_BYTES, folder: Path = _DEV_SHM) -> None:
    """Shared memory is large enough for the engines, in bytes.

    Raises:
        LaunchFailed: It is not, as in a container that was started with very little.
    """
    free = shutil.disk_usage(folder).free if folder.is_dir() else 0
    if free < needed:
        mib = 1024**2
        raise LaunchFailed(
            f"too little shared memory: {free // mib} MiB are free in {folder} and {needed // mib} MiB are "
            "needed; in a container, start it with --shm-size=2g"
        )


def _port_message(host: str, port: int, number: int | None, another: str) -> str:
    if number == errno.EADDRINUSE:
        holder = _holder(port)
        who = f"by {holder}; stop it, or " if holder else "by another program; "
        return f"port {port} is taken {who}{another}"
    if number == errno.EACCES:
        return f"port {port} needs the rights of an administrator; {another}"
    if number == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine; set http_options.host in the configuration"
    reason = os.strerror(number) if number else "no such port"
    return f"cannot listen on {host}, port {port}: {reason}; {another}"


def _holder(port: int) -> str | None:
    """Name and id of the process that listens on a port, as far as this user may see it."""
    inodes = set(_listening_inodes(port))
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError):
            for descriptor in os.scandir(f"/proc/{entry}/fd"):
                if os.readlink(descriptor.path) in inodes:
                    name = Path(f"/proc/{entry}/comm").read_text().strip()
                    return f"{name} (process {entry})"
    return None


def _listening_inodes(port: int) -> Iterable[str]:
    listening = "0A"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == listening and int(fields[1].rpartition(":")[2], 16) == port:
                    yield f"socket:[{fields[9]}]"


def _weight_bytes(model: ServedModel) -> int:
    if model.folder is None or not model.folder.is_dir():
        return 0
    return sum(file.stat().st_size for file in model.folder.iterdir() if file.suffix in _WEIGHT_SUFFIXES)
