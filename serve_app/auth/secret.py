"""The signing secret: made once, kept in a file that only its owner reads."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

MIN_BYTES = 32
"""As long as the hash of HS256 (RFC 7518, 3.2)."""


class SecretError(Exception):
    """The secret file is missing or unfit. The message says what to do."""


def ensure(path: Path) -> bytes:
    """The secret in a file, made first where there is none.

    Made complete under another name and linked into place, so that of two processes that start at
    once both use the same.

    Raises:
        SecretError: The file is there but unfit, or its folder cannot be written.
    """
    if path.exists():
        return read(path)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(48) + "\n")
        try:
            path.hardlink_to(beside)
        except FileExistsError:
            pass  # another process was first; its secret is the one
        finally:
            beside.unlink()
    except OSError as error:
        raise SecretError(f"Cannot write the signing secret {path}: {error.strerror}.") from error
    return read(path)


def read(path: Path) -> bytes:
    """The secret in a file.

    Raises:
        SecretError: No such file, readable by others, or too short.
    """
    try:
        mode = path.stat().st_mode
        secret = path.read_bytes().strip()
    except FileNotFoundError:
        raise SecretError(
            f"There is no signing secret at {path}; make one with `qwen-serve secret {path}`."
        ) from None
    except OSError as error:
        raise SecretError(f"Cannot read the signing secret {path}: {error.strerror}.") from error
    # The group may read: that is how Kubernetes mounts a secret for a process that is not root.
    if mode & (stat.S_IRWXG | stat.S_IRWXO) & ~stat.S_IRGRP:
        raise SecretError(f"The signing secret {path} is open to others; run `chmod 600 {path}`.")
    if len(secret) < MIN_BYTES:
        raise SecretError(
            f"The signing secret {path} has {len(secret)} bytes, and HS256 needs {MIN_BYTES}; "
            f"delete it and run `qwen-serve secret {path}`."
        )
    return secret
