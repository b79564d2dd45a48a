"""What a model consists of at its source: each file's name, size and checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deployments.weights.errors import NameUnsafe, ObjectMissing

Algorithm = Literal["sha256", "md5", "git-sha1"]
"""git-sha1 is git's own digest of a file: SHA-1 over ``blob <size>``, a zero byte and the content."""

_NAME_BYTES = 255
_PATH_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Digest:
    """A checksum of a file's content, in lower-case hexadecimal."""

    algorithm: Algorithm
    value: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value}"

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read what ``str`` wrote.

        Raises:
            ValueError: It is something else.
        """
        for algorithm in ("sha256", "md5", "git-sha1"):
            if text.startswith(algorithm + ":"):
                return cls(algorithm, text.partition(":")[2])
        raise ValueError(f"unknown digest {text[:20]!r}")

    def of_file(self, path: Path) -> Digest:
        """The digest, by the same algorithm, of what a file holds.

        Raises:
            OSError: The file cannot be read.
        """
        with path.open("rb") as file:
            if self.algorithm == "git-sha1":
                head = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
                measured = hashlib.file_digest(file, lambda: head)
            else:
                measured = hashlib.file_digest(file, self.algorithm)
        return Digest(self.algorithm, measured.hexdigest())


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file at the source.

    Attributes:
        name: Path below the model, with ``/``.
        size: Bytes.
        digest: Its checksum; None where the source tells none.
        tag: What the source calls this version of it (S3's ETag): a part of another version is noticed.
    """

    name: str
    size: int
    digest: Digest | None = None
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class Inventory:
    """All files of a model, sorted by name. Made by ``of``, which refuses unsafe names."""

    files: tuple[RemoteFile, ...]

    @classmethod
    def of(cls, files: Iterable[RemoteFile], where: str) -> Inventory:
        """Check the names and sort the files.

        Raises:
            NameUnsafe: A name leads out of the folder, cannot be stored, or is both a file and a folder.
            ObjectMissing: There are no files.
        """
        ordered = tuple(sorted(files, key=lambda file: file.name))
        if not ordered:
            raise ObjectMissing(f"{where}: there are no files; check the address, or publish the model there")
        names = {file.name for file in ordered}
        if len(names) < len(ordered):
            raise NameUnsafe(f"{where}: two files have the same name; remove one of them")
        for name in names:
            check_name(name, where)
            parts = name.split("/")
            if any("/".join(parts[:depth]) in names for depth in range(1, len(parts))):
                raise NameUnsafe(f"{where}/{name}: a file of the name of its folder is there too; rename one")
        return cls(ordered)

    @property
    def total_bytes(self) -> int:
        """Size of the whole model, bytes."""
        return sum(file.size for file in self.files)

    @property
    def fingerprint(self) -> str:
        """Stands for the content: another checksum, size, name or (without a checksum) version changes it."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(f"{file.name}\0{file.size}\0{file.digest or file.tag}\0".encode())
        return digest.hexdigest()

    def check_case(self, where: str) -> None:
        """Refuse names that a file system without upper and lower case would take for the same.

        Raises:
            NameUnsafe: There are such names.
        """
        seen: dict[str, str] = {}
        for file in self.files:
            other = seen.setdefault(file.name.casefold(), file.name)
            if other != file.name:
                raise NameUnsafe(
                    f"{where}: {other} and {file.name} are one file on the cache's file system; "
                    "put weights.cache_dir on another, or rename one"
                )


def check_name(name: str, where: str) -> None:
    """Refuse a file's name that is no plain path below its folder.

    Raises:
        NameUnsafe: It is absolute, has an empty part, ``.``, ``..``, a backslash or a control character, or
            is too long for a file system.
    """
    parts = name.split("/")
    unsafe = (
        any(part in ("", ".", "..") for part in parts)
        or any(character < " " or character in "\\\x7f" for character in name)
        or len(name.encode("utf-8", "surrogatepass")) > _PATH_BYTES
        or any(len(part.encode("utf-8", "surrogatepass")) > _NAME_BYTES for part in parts)
    )
    if unsafe:
        raise NameUnsafe(
            f"{where}: {name[:200]!r} is no safe name for a file in a folder; rename or remove that object"
        )
