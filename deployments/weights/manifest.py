"""The manifest of a published model: size and SHA-256 of every file.

It lies beside the files as ``manifest.json`` (made by ``python -m deployments.weights``), or as
``SHA256SUMS`` (made by ``sha256sum``), which tells no sizes. Files that a manifest does not name are not part
of the model.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, NonNegativeInt, StringConstraints, ValidationError

from deployments.config import FrozenConfig
from deployments.weights.errors import CacheUnusable, ManifestInvalid, NameUnsafe, ObjectMissing
from deployments.weights.inventory import Digest, check_name

MANIFEST_FILE: Final = "manifest.json"
SUMS_FILE: Final = "SHA256SUMS"
FORMAT: Final = "qwen-serve-weights"
"""What tells our manifest from a file of the same name that a checkpoint may hold."""

_AGAIN = "publish the model again (python -m deployments.weights publish)"
_SUM = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")
_SHA256 = Digest("sha256", "")


class ManifestEntry(FrozenConfig):
    """A file of the model."""

    size: NonNegativeInt = Field(..., description="Bytes.")
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] = Field(
        ..., description="SHA-256 of the content, lower-case hexadecimal."
    )


class Manifest(FrozenConfig):
    """``manifest.json``, version 1."""

    format: Literal["qwen-serve-weights"] = Field(FORMAT, description="Always so.")
    version: Literal[1] = Field(1, description="Version of this form.")
    files: dict[str, ManifestEntry] = Field(..., min_length=1, description="By path below the model.")

    @classmethod
    def of_folder(cls, folder: Path) -> Manifest:
        """Measure every file of a folder, two at a time. Hidden files and manifests are left out.

        Raises:
            ObjectMissing: No such folder, or nothing in it.
            NameUnsafe: A file's name cannot be published.
            ManifestInvalid: It holds a ``manifest.json`` of another kind.
            CacheUnusable: A file cannot be read.
        """
        names = sorted(_names(folder))
        if not names:
            raise ObjectMissing(f"{folder}: no such folder, or no files in it; give a checkpoint folder")
        if (folder / MANIFEST_FILE).exists() and not is_manifest((folder / MANIFEST_FILE).read_bytes()):
            raise ManifestInvalid(
                f"{folder / MANIFEST_FILE} is not a manifest of weights; rename it, that name is taken here"
            )
        with ThreadPoolExecutor(max_workers=2) as pool:
            entries = list(pool.map(lambda name: _measure(folder / name), names))
        return cls(files=dict(zip(names, entries, strict=True)))

    def to_bytes(self) -> bytes:
        """The file's content."""
        return self.model_dump_json(indent=2).encode() + b"\n"

    def faults(self, folder: Path) -> Iterator[str]:
        """Compare a folder with the manifest, every byte of it.

        Yields:
            One line for each file that is missing or different.
        """
        for name, entry in self.files.items():
            check_name(name, str(folder))
            path = folder / name
            try:
                if path.stat().st_size != entry.size:
                    yield f"{name}: {path.stat().st_size} bytes, not {entry.size}"
                elif _SHA256.of_file(path).value != entry.sha256:
                    yield f"{name}: another SHA-256"
            except OSError as error:
                yield f"{name}: {error.strerror}"


def is_manifest(content: bytes) -> bool:
    """Whether a ``manifest.json`` is meant as ours. One that is not JSON is: it may be ours, cut short."""
    try:
        data = json.loads(content)
    except ValueError:
        return True
    return isinstance(data, dict) and data.get("format") == FORMAT


def parse_manifest(content: bytes, where: str) -> Manifest:
    """Read a ``manifest.json``.

    Raises:
        ManifestInvalid: It is not JSON, of another version, or lacks something.
    """
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ManifestInvalid(f"{where}: {field + ': ' if field else ''}{first['msg']}; {_AGAIN}") from error


def parse_sums(content: bytes, where: str) -> dict[str, str]:
    """Read a ``SHA256SUMS``: SHA-256 in lower case, by name.

    Raises:
        ManifestInvalid: A line is something else, or there is none.
    """
    sums: dict[str, str] = {}
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
        if not line.strip():
            continue
        found = _SUM.fullmatch(line)
        if found is None:
            raise ManifestInvalid(
                f"{where}: line {number} is not '<SHA-256>  <name>'; make it with sha256sum"
            )
        sums[found[2].removeprefix("./")] = found[1].lower()
    if not sums:
        raise ManifestInvalid(f"{where}: it is empty; make it with sha256sum, or remove it")
    return sums


def _names(folder: Path) -> Iterator[str]:
    """Files below a folder. Linked files are followed (a hub's cache is made of them), linked folders not."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            if (Path(parent) / name).is_symlink():
                raise NameUnsafe(f"{Path(parent) / name} is a link to a folder; copy the folder in its place")
        for name in files:
            path = (Path(parent) / name).relative_to(folder).as_posix()
            if not name.startswith(".") and path not in (MANIFEST_FILE, SUMS_FILE):
                check_name(path, str(folder))
                yield path


def _measure(path: Path) -> ManifestEntry:
    try:
        if not path.is_file():
            raise NameUnsafe(f"{path} is not a file, or a link to nothing; remove it")
        return ManifestEntry(size=path.stat().st_size, sha256=_SHA256.of_file(path).value)
    except OSError as error:
        raise CacheUnusable(f"{path} cannot be read: {error.strerror}; check its permissions") from error
