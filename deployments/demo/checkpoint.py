"""Checkpoint folders: complete or absent, and whether one is the work of a given recipe."""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["RECIPE_FILE", "CheckpointError", "is_current", "write_checkpoint"]

RECIPE_FILE: Final = "demo_recipe.json"
"""Inside every folder: the recipe's digest and the SHA-256 of each other file."""


class CheckpointError(RuntimeError):
    """A checkpoint folder cannot be written; the message says what to do."""


def is_current(folder: Path, digest: str) -> bool:
    """Tell whether a folder was made by the recipe with this digest and is still whole.

    Every file is hashed (a few milliseconds for a demonstration model), so that a cut or changed file is
    found here and not by the engine.
    """
    try:
        record = json.loads((folder / RECIPE_FILE).read_text(encoding="utf-8"))
        if record["digest"] != digest:
            return False
        found = {name: _sha256(folder / name) for name in record["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(found) and found == record["files"]


def write_checkpoint(folder: Path, digest: str, fill: Callable[[Path], None]) -> None:
    """Write a folder so that it is there complete or not at all.

    The work happens in a folder beside the target, which takes its place only when everything is on disk;
    what stood there before is removed, whatever it was.

    Args:
        folder: the target.
        digest: the recipe's digest, kept in `RECIPE_FILE`.
        fill: writes the checkpoint into the empty folder that it is given.

    Raises:
        CheckpointError: the target's parent cannot be written to.
    """
    work = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        # Within the try: a signal may end the process at any time from the moment that the folder is there.
        _make(work)
        fill(work)
        _seal(work, digest)
        _replace(folder, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _make(work: Path) -> None:
    try:
        work.parent.mkdir(parents=True, exist_ok=True)
        work.mkdir()
    except OSError as error:
        raise CheckpointError(
            f"cannot write to {work.parent}: {error.strerror}; choose another folder with --out"
        ) from error


def _seal(work: Path, digest: str) -> None:
    """Record every file and bring all of them to disk, the record last."""
    names = sorted(str(path.relative_to(work)) for path in work.rglob("*") if path.is_file())
    record = {"digest": digest, "files": {name: _sha256(work / name) for name in names}}
    (work / RECIPE_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    for name in (*names, RECIPE_FILE):
        # safetensors keeps its files to the owner; a server often runs as somebody else.
        (work / name).chmod(0o644)
        with (work / name).open("rb") as file:
            os.fsync(file.fileno())


def _replace(folder: Path, work: Path) -> None:
    """Put `work` where `folder` is; the old one is moved aside first, as a folder cannot be overwritten."""
    aside = work.with_name(work.name + ".old")
    if folder.exists() or folder.is_symlink():
        folder.rename(aside)
    work.rename(folder)
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside, ignore_errors=True)
    else:
        aside.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
