"""Models in S3, MinIO, or another service that speaks S3's protocol."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import boto3
import botocore.session
from botocore import UNSIGNED
from botocore.config import Config

from deployments.weights import manifest as manifests
from deployments.weights.config import S3Config, WeightsConfig
from deployments.weights.download import Download
from deployments.weights.errors import (
    AccessRefused,
    ManifestInvalid,
    ObjectMissing,
    StreamBroken,
)
from deployments.weights.inventory import Digest, Inventory, RemoteFile
from deployments.weights.location import Location
from deployments.weights.partial import Partial
from deployments.weights.progress import Progress, logger
from deployments.weights.s3_errors import s3_errors

_CHUNK_BYTES = 1024 * 1024
_MD5 = re.compile(r'"?([0-9a-f]{32})"?')
_MANIFEST_MAX_BYTES = 64 * _CHUNK_BYTES


def open_client(config: S3Config, where: str, connections: int) -> Any:
    """An S3 client; credentials are read now. Threads may share it.

    Raises:
        AccessRefused: ``credentials_file`` is not there, or has no such profile.
    """
    session = botocore.session.Session()
    if config.credentials_file is not None:
        path = config.credentials_file.expanduser()
        if not path.is_file():
            raise AccessRefused(f"{path}: no such file; check weights.s3.credentials_file")
        session.set_config_variable("credentials_file", str(path))
        session.set_config_variable("profile", config.profile)
    options = Config(
        s3={"addressing_style": "path" if config.path_style else "auto"},
        connect_timeout=config.connect_timeout_s,
        read_timeout=config.read_timeout_s,
        retries={"mode": "standard", "total_max_attempts": config.max_attempts},
        max_pool_connections=connections,
        # Older MinIO and others do not know the checksums that the client would add by itself.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        signature_version=UNSIGNED if config.anonymous else None,
    )
    with s3_errors(where):
        region = config.region or session.get_config_variable("region") or "us-east-1"
        return boto3.Session(botocore_session=session).client(
            "s3",
            region_name=region,
            endpoint_url=config.endpoint_url,
            verify=str(config.ca_file) if config.ca_file else None,
            config=options,
        )


class S3Source:
    """One model below a prefix of a bucket."""

    def __init__(self, location: Location, config: WeightsConfig) -> None:
        self._location, self._config = location, config
        self._prefix = f"{location.path}/" if location.path else ""
        self._client = open_client(config.s3, str(location), config.parallel_downloads)

    def inventory(self) -> Inventory:
        """The manifest's files with their versions in the bucket; without a manifest, all objects."""
        objects = {file.name: file for file in self._list()}
        if not objects:
            raise ObjectMissing(f"{self._location}: nothing is there; check the address, or publish it there")
        found = self._from_manifest(objects) or self._from_sums(objects)
        if found is None:
            if self._config.require_manifest:
                raise ManifestInvalid(
                    f"{self._location}: no {manifests.MANIFEST_FILE}; publish the model with "
                    "python -m deployments.weights publish, or unset weights.require_manifest"
                )
            found = self._from_heads(objects)
        return Inventory.of(found, str(self._location))

    def fetch(self, partial: Partial, progress: Progress) -> None:
        """Fetch what is missing in parts, and verify it."""
        Download(
            self._read,
            partial,
            progress,
            workers=self._config.parallel_downloads,
            max_attempts=self._config.s3.max_attempts,
        ).run()

    def _list(self) -> Iterator[RemoteFile]:
        pages = self._client.get_paginator("list_objects_v2")
        with s3_errors(str(self._location)):
            for page in pages.paginate(Bucket=self._location.place, Prefix=self._prefix):
                for item in page.get("Contents", ()):
                    name = item["Key"].removeprefix(self._prefix)
                    # Consoles make a "folder" as an empty object.
                    if not name or (name.endswith("/") and item["Size"] == 0):
                        continue
                    yield RemoteFile(name, item["Size"], tag=item["ETag"])

    def _from_manifest(self, objects: dict[str, RemoteFile]) -> list[RemoteFile] | None:
        if manifests.MANIFEST_FILE not in objects:
            return None
        where = self._location.file(manifests.MANIFEST_FILE)
        content = self._whole(objects[manifests.MANIFEST_FILE])
        if not manifests.is_manifest(content):
            return None
        promised = manifests.parse_manifest(content, where).files
        return [self._promised(name, entry.sha256, objects, entry.size) for name, entry in promised.items()]

    def _from_sums(self, objects: dict[str, RemoteFile]) -> list[RemoteFile] | None:
        if manifests.SUMS_FILE not in objects:
            return None
        where = self._location.file(manifests.SUMS_FILE)
        sums = manifests.parse_sums(self._whole(objects[manifests.SUMS_FILE]), where)
        return [self._promised(name, sha256, objects) for name, sha256 in sums.items()]

    def _promised(
        self, name: str, sha256: str, objects: dict[str, RemoteFile], size: int | None = None
    ) -> RemoteFile:
        file, where = objects.get(name), self._location.file(name)
        if file is None:
            raise ObjectMissing(
                f"{where}: the manifest names it and it is not there; publish the model again"
            )
        if size is not None and size != file.size:
            raise ManifestInvalid(
                f"{where}: {file.size} bytes, and the manifest says {size}; publish the model again"
            )
        return replace(file, digest=Digest("sha256", sha256))

    def _from_heads(self, objects: dict[str, RemoteFile]) -> list[RemoteFile]:
        """What S3 itself knows: a SHA-256 it was given, or an ETag that is an MD5."""
        with ThreadPoolExecutor(max_workers=self._config.parallel_downloads) as pool:
            files = list(pool.map(self._head, objects.values()))
        unverified = sum(file.digest is None for file in files)
        if unverified:
            logger.warning(
                "%s has no manifest: of %d of its %d files only the size is checked; publish it with "
                "python -m deployments.weights publish",
                *(self._location, unverified, len(files)),
            )
        return files

    def _head(self, file: RemoteFile) -> RemoteFile:
        with s3_errors(self._location.file(file.name)):
            head = self._client.head_object(
                Bucket=self._location.place, Key=self._prefix + file.name, ChecksumMode="ENABLED"
            )
        if head.get("ChecksumSHA256") and head.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT":
            # The sum of the parts' sums ends in their number, and so does not decode to 32 bytes.
            value = base64.b64decode(head["ChecksumSHA256"].partition("-")[0])
            if "-" not in head["ChecksumSHA256"]:
                return replace(file, digest=Digest("sha256", value.hex()))
        plain = _MD5.fullmatch(file.tag or "")
        # With keys of one's own (SSE-KMS, SSE-C) the ETag looks the same and is no MD5.
        if (
            plain
            and head.get("ServerSideEncryption") in (None, "AES256")
            and "SSECustomerAlgorithm" not in head
        ):
            return replace(file, digest=Digest("md5", plain[1]))
        return file

    def _whole(self, file: RemoteFile) -> bytes:
        if file.size > _MANIFEST_MAX_BYTES:
            raise ManifestInvalid(f"{self._location.file(file.name)}: too large for a manifest; remove it")
        return b"".join(self._read(file, 0, file.size)) if file.size else b""

    def _read(self, file: RemoteFile, start: int, end: int) -> Iterator[bytes]:
        where = self._location.file(file.name)
        with s3_errors(where):
            answer = self._client.get_object(
                Bucket=self._location.place,
                Key=self._prefix + file.name,
                Range=f"bytes={start}-{end - 1}",
                IfMatch=file.tag,
            )
            if answer["ContentLength"] != end - start:
                raise StreamBroken(f"{where}: the service sends another range than it was asked for")
            yield from answer["Body"].iter_chunks(_CHUNK_BYTES)
