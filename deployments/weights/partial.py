"""A model that is not complete yet: its files so far, and what of them is done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from deployments.weights.disk import disk_errors, sync
from deployments.weights.errors import CacheUnusable, ChecksumMismatch
from deployments.weights.inventory import Inventory, RemoteFile
from deployments.weights.journal import JOURNAL_FILE, Journal, Part, Record
from deployments.weights.location import Location

_AGAIN = "publish it again, or see who changed it"


class Partial:
    """The folder of a download. Whoever holds the model's download lock owns it.

    Attributes:
        folder: Takes the model's place in the cache when it is complete.
        model: The checkpoint's folder inside.
        record: What earlier attempts have done.

    Raises:
        DiskFull, CacheUnusable: From every method that writes.
    """

    def __init__(self, folder: Path, location: Location, inventory: Inventory, part_bytes: int) -> None:
        self.folder, self.location, self.inventory = folder, location, inventory
        self.model = folder / "model"
        with disk_errors(folder):
            self.model.mkdir(parents=True, exist_ok=True)
        self.journal = Journal(folder / JOURNAL_FILE)
        self.record = self.journal.begin(str(location), inventory.total_bytes, part_bytes)

    def path(self, file: RemoteFile) -> Path:
        """Where a file goes."""
        return self.model / file.name

    def lay_out(self) -> None:
        """Make every file at its full size, without its content; what is there and right stays."""
        for file in self.inventory.files:
            path = self.path(file)
            with disk_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.parent.resolve().is_relative_to(self.model.resolve()):
                    raise CacheUnusable(f"{path.parent} is a link out of the cache; remove it")
                if not path.is_file() or path.is_symlink() or path.stat().st_size != file.size:
                    self.forget(file)
                    path.unlink(missing_ok=True)
                    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
                    try:
                        os.ftruncate(descriptor, file.size)
                    finally:
                        os.close(descriptor)

    def missing(self, file: RemoteFile) -> Iterator[Part]:
        """Parts of a file that are to be fetched."""
        done, step = self.record.parts[file.name], self.record.part_bytes
        for start in range(0, file.size, step):
            part = (start, min(start + step, file.size))
            if part not in done:
                yield part

    def forget(self, file: RemoteFile) -> None:
        """Fetch a file from its start: what is here is not what was noted."""
        if file.name in self.record.whole or self.record.parts[file.name]:
            self.journal.again(file.name)
            self.record.whole.pop(file.name, None)
            self.record.parts[file.name] = set()

    def verify(self, file: RemoteFile) -> None:
        """Measure a file that is complete, and bring it to disk.

        Raises:
            ChecksumMismatch: It is not what the manifest or the source says.
        """
        path = self.path(file)
        where = self.location.file(file.name)
        with disk_errors(path):
            size = path.stat().st_size
            if size != file.size:
                raise ChecksumMismatch(f"{where}: {size} bytes came and {file.size} were promised; {_AGAIN}")
            found = file.digest.of_file(path) if file.digest else None
            if found != file.digest:
                raise ChecksumMismatch(f"{where}: its content is {found}, not {file.digest}; {_AGAIN}")
            sync(path)
        self.journal.whole(file.name, file.size)

    def tidy(self) -> None:
        """Remove what is not the model's (a hub library's own notes) and close the files to writing."""
        names = {file.name for file in self.inventory.files}
        with disk_errors(self.model):
            for path in sorted(self.model.rglob("*"), reverse=True):
                name = path.relative_to(self.model).as_posix()
                if path.is_dir() and not path.is_symlink():
                    if not any(known.startswith(name + "/") for known in names):
                        shutil.rmtree(path)
                elif name not in names:
                    path.unlink()
                else:
                    path.chmod(0o444)

    @staticmethod
    def peek(folder: Path) -> Record | None:
        """What is done of a download that somebody else may own; None if there is none."""
        return Record.read(folder / JOURNAL_FILE)
