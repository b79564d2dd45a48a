"""The signing secret: made once, kept in a file that only its owner reads."""

from __future__ import annotations

import secrets
from pathlib import Path

from serve_app import private_file

MIN_BYTES = 32
"""As long as the hash of HS256 (RFC 7518, 3.2)."""


class SecretError(Exception):
    """The secret file is missing or unfit. The message says what to do."""


def ensure(path: Path) -> bytes:
    """The secret in a file, made first where there is none.

    Raises:
        SecretError: The file is there but unfit, or its folder cannot be written.
    """
    if path.exists():
        return read(path)
    try:
        private_file.make(path, f"{secrets.token_urlsafe(48)}\n".encode())
    except OSError as error:
        raise SecretError(f"Cannot write the signing secret {path}: {error.strerror}.") from error
    return read(path)


def read(path: Path) -> bytes:
    """The secret in a file.

    Raises:
        SecretError: No such file, readable by others, or too short.
    """
    try:
        is_open = private_file.is_open(path)
        secret = path.read_bytes().strip()
    except FileNotFoundError:
        raise SecretError(
            f"There is no signing secret at {path}; make one with `qwen-serve secret {path}`."
        ) from None
    except OSError as error:
        raise SecretError(f"Cannot read the signing secret {path}: {error.strerror}.") from error
    if is_open:
        raise SecretError(f"The signing secret {path} is open to others; run `chmod 600 {path}`.")
    if len(secret) < MIN_BYTES:
        raise SecretError(
            f"The signing secret {path} has {len(secret)} bytes, and HS256 needs {MIN_BYTES}; "
            f"delete it and run `qwen-serve secret {path}`."
        )
    return secret
