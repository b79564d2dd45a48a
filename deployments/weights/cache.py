"""The cache's folder: models that are complete, each in a folder of its own that appears in one step.

<cache_dir>/<model>-<address>-<content>/seal.json   what it is; locked by those who use it
                                       /model/      the checkpoint
           /.partial/<the same name>/               a download, not complete
           /.locks/                                 who downloads what
           /.trash/                                 what is being removed
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import Field, NonNegativeInt, ValidationError

from deployments.config import FrozenConfig
from deployments.weights.disk import disk_errors, sync
from deployments.weights.errors import CacheUnusable
from deployments.weights.lock import Lock
from deployments.weights.partial import Partial

SEAL_FILE: Final = "seal.json"
_POLL_S = 0.02


class SealedFile(FrozenConfig):
    """A file of a complete model."""

    size: NonNegativeInt = Field(..., description="Bytes.")
    digest: str | None = Field(None, description="Its checksum when it was verified, as algorithm:value.")


class Seal(FrozenConfig):
    """What a complete model is. Its modification time is when the model was last used."""

    source: str = Field(..., description="The address it came from.")
    sealed_at: datetime = Field(..., description="When it was complete.")
    files: dict[str, SealedFile] = Field(..., description="By path below the model.")

    @property
    def total_bytes(self) -> int:
        """Size of the model, bytes."""
        return sum(file.size for file in self.files.values())


class Lease:
    """A model in use: its folder stays as long as this is held, and no longer than its process lives.

    Attributes:
        folder: The checkpoint.
    """

    def __init__(self, folder: Path, lock: Lock | None = None) -> None:
        self.folder = folder
        self._lock = lock

    def release(self) -> None:
        """Allow the model to be evicted."""
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Path:
        return self.folder

    def __exit__(self, *_: object) -> None:
        self.release()


class Cache:
    """The models on this machine. Any number of processes may have one for the same folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().absolute()

    def create(self) -> None:
        """Make the folders.

        Raises:
            DiskFull, CacheUnusable: They cannot be made.
        """
        for name in (".partial", ".locks", ".trash"):
            with disk_errors(self.folder):
                (self.folder / name).mkdir(parents=True, exist_ok=True)

    @property
    def folds_case(self) -> bool:
        """Whether this file system takes ``a`` and ``A`` for the same; asked after ``create``."""
        return (self.folder / ".LOCKS").exists()

    def lock_path(self, key: str) -> Path:
        """The lock that whoever downloads a model of that key holds."""
        return self.folder / ".locks" / f"{key}.lock"

    def partial_path(self, name: str) -> Path:
        """The folder of a download."""
        return self.folder / ".partial" / name

    def names(self, key: str | None = None) -> list[str]:
        """Complete models, or those of one address: what is listed may be gone the next moment."""
        with contextlib.suppress(OSError):
            return sorted(
                path.name
                for path in self.folder.iterdir()
                if not path.name.startswith(".")
                and (key is None or path.name.rpartition("-")[0] == key)
                and (path / SEAL_FILE).is_file()
            )
        return []

    def partial_names(self) -> list[str]:
        """Downloads that are not complete."""
        with contextlib.suppress(OSError):
            return sorted(path.name for path in (self.folder / ".partial").iterdir())
        return []

    def seal(self, name: str) -> Seal | None:
        """What a complete model is; None if it is not there."""
        try:
            return Seal.model_validate_json((self.folder / name / SEAL_FILE).read_bytes())
        except (OSError, ValidationError):
            return None

    def newest(self, key: str) -> str | None:
        """The model of an address that was completed last."""
        sealed = [(seal.sealed_at, name) for name in self.names(key) if (seal := self.seal(name))]
        return max(sealed)[1] if sealed else None

    def lease(self, name: str) -> Lease | None:
        """Use a model; None if it is not there or not whole (its files' sizes are looked at).

        Raises:
            CacheUnusable: Its seal cannot be locked.
        """
        path = self.folder / name / SEAL_FILE
        try:
            # Whoever makes room holds it for a moment, and then it is gone or free.
            while (lock := Lock.take(path, exclusive=False)) is None:
                time.sleep(_POLL_S)
        except FileNotFoundError:
            return None
        # Between opening and locking it may have been evicted.
        if not lock.is_on(path) or not self._is_whole(name):
            lock.release()
            return None
        with contextlib.suppress(OSError):  # A read-only cache works; nobody evicts there.
            os.utime(path)
        return Lease(self.folder / name / "model", lock)

    def admit(self, partial: Partial) -> None:
        """Turn a download whose files are all verified into a model of the cache, in one step.

        Raises:
            DiskFull, CacheUnusable: That failed; the download stays.
        """
        name = partial.folder.name
        files = {
            file.name: SealedFile(size=file.size, digest=str(file.digest) if file.digest else None)
            for file in partial.inventory.files
        }
        partial.tidy()
        seal = Seal(source=str(partial.location), sealed_at=datetime.now(UTC), files=files)
        self._clear(name)
        with disk_errors(self.folder / name):
            (partial.folder / SEAL_FILE).write_text(seal.model_dump_json(indent=2) + "\n", encoding="utf-8")
            sync(partial.folder / SEAL_FILE)
            for folder in {partial.folder, *(partial.path(file).parent for file in partial.inventory.files)}:
                sync(folder)
            partial.folder.rename(self.folder / name)
            sync(self.folder)

    def remove(self, folder: Path) -> None:
        """Remove a model or download: it is gone at once, its bytes a little later.

        Raises:
            CacheUnusable: It cannot be moved.
        """
        aside = self.folder / ".trash" / f"{folder.name}.{secrets.token_hex(4)}"
        with disk_errors(folder):
            folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    def empty_trash(self) -> None:
        """Remove what a killed process had begun to remove."""
        for path in (self.folder / ".trash").iterdir():
            shutil.rmtree(path, ignore_errors=True)

    def claim(self, name: str) -> Lock | None:
        """Take a model from everybody else; None if it is in use or gone."""
        path = self.folder / name / SEAL_FILE
        try:
            lock = Lock.take(path, exclusive=True)
        except FileNotFoundError:
            return None
        if lock is not None and not lock.is_on(path):
            lock.release()
            return None
        return lock

    def _is_whole(self, name: str) -> bool:
        seal = self.seal(name)
        return seal is not None and all(_sizes_match(self.folder / name / "model", seal))

    def _clear(self, name: str) -> None:
        """Make way: a model of that name that is there all the same has been damaged."""
        target = self.folder / name
        if not os.path.lexists(target):
            return
        if target.is_symlink() or not (target / SEAL_FILE).is_file():
            self.remove(target)
            return
        lock = self.claim(name)
        if lock is None:
            raise CacheUnusable(
                f"{target} is damaged, and in use; stop the replicas that use it, then try again"
            )
        with lock:
            self.remove(target)


def _sizes_match(folder: Path, seal: Seal) -> Iterator[bool]:
    for name, file in seal.files.items():
        try:
            yield (folder / name).stat().st_size == file.size
        except OSError:
            yield False
