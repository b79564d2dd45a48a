"""An address of weights: ``s3://bucket/model``, ``hf://owner/name``, ``modelscope://...`` or a folder."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from deployments.weights.errors import AddressInvalid

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")
_NOT_IN_A_FILE_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_KNOWN = "use s3://bucket/model, hf://owner/name, modelscope://owner/name or a folder"


class Scheme(StrEnum):
    """Where weights lie."""

    S3 = "s3"
    HUGGING_FACE = "hf"
    MODELSCOPE = "modelscope"
    FOLDER = "file"


@dataclass(frozen=True, slots=True)
class Location:
    """A parsed address.

    Attributes:
        scheme: What kind of place it is.
        place: Bucket, ``owner/name`` on a hub, or folder.
        path: Prefix within the bucket, without slashes at its ends; empty elsewhere.
        revision: Branch, tag or commit on a hub; None: its default.
    """

    scheme: Scheme
    place: str
    path: str = ""
    revision: str | None = None

    @classmethod
    def parse(cls, source: str) -> Location:
        """Read an address; what has no ``://`` is a folder.

        Raises:
            AddressInvalid: Says what is wrong with it, without repeating what may be a password.
        """
        scheme, separator, rest = source.partition("://")
        if not separator:
            return cls(Scheme.FOLDER, str(Path(source).expanduser()))
        if scheme == Scheme.S3:
            return cls(Scheme.S3, *_bucket_and_prefix(rest))
        if scheme in (Scheme.HUGGING_FACE, Scheme.MODELSCOPE):
            if not _REPOSITORY.fullmatch(rest) or ".." in rest:
                raise AddressInvalid(f"{source}: a model on a hub is owner/name or owner/name@revision")
            place, _, revision = rest.partition("@")
            return cls(Scheme(scheme), place, revision=revision or None)
        raise AddressInvalid(f"unknown kind of address {scheme[:32]!r}; {_KNOWN}")

    def __str__(self) -> str:
        if self.scheme is Scheme.FOLDER:
            return self.place
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.scheme}://{self.place}{'/' + self.path if self.path else ''}{revision}"

    def file(self, name: str) -> str:
        """The full address of one of its files, for messages."""
        return f"{self}/{name}"

    def key(self, endpoint: str | None = None) -> str:
        """A name for a file that stands for this place: readable, and unlike any other's."""
        last = (self.path or self.place).rsplit("/", 1)[-1]
        readable = _NOT_IN_A_FILE_NAME.sub("_", last).lstrip(".")[:64] or "model"
        whole = f"{self}\n{endpoint or ''}"
        return f"{readable}-{hashlib.sha256(whole.encode()).hexdigest()[:12]}"


def _bucket_and_prefix(rest: str) -> tuple[str, str]:
    bucket, _, prefix = rest.partition("/")
    if "@" in bucket:
        raise AddressInvalid(
            "an s3:// address holds no credentials; put them into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if not _BUCKET.fullmatch(bucket):
        raise AddressInvalid(f"s3://{rest}: {bucket!r} is no bucket's name; use s3://bucket/model")
    prefix = prefix.strip("/")
    if prefix and any(part in ("", ".", "..") for part in prefix.split("/")):
        raise AddressInvalid(f"s3://{rest}: the model's path has an empty part, '.' or '..'")
    return bucket, prefix
