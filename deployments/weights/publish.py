"""A checkpoint folder goes into a bucket: its files, then the manifest, which says that they are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from boto3.s3.transfer import S3UploadFailedError, TransferConfig
from botocore.exceptions import ClientError

from deployments.weights.config import WeightsConfig
from deployments.weights.errors import AddressInvalid, ManifestInvalid
from deployments.weights.location import Location, Scheme
from deployments.weights.manifest import MANIFEST_FILE, Manifest, ManifestEntry, is_manifest
from deployments.weights.progress import in_words, logger
from deployments.weights.s3 import open_client
from deployments.weights.s3_errors import s3_errors


def publish(folder: Path, destination: str, config: WeightsConfig, *, replace: bool = False) -> Manifest:
    """Upload a folder. Files that are there already, by their SHA-256, are not sent again.

    Args:
        folder: The checkpoint.
        destination: ``s3://bucket/model``.
        config: Where S3 is.
        replace: Whether another model that is published there may be replaced; whoever downloads it
            meanwhile gets an error.

    Raises:
        AddressInvalid: The destination is not in S3.
        ManifestInvalid: Another model is published there.
        WeightsError: As when downloading.
    """
    location = Location.parse(destination)
    if location.scheme is not Scheme.S3:
        raise AddressInvalid(f"{destination}: publish to s3://bucket/model")
    manifest = Manifest.of_folder(folder)
    bucket = _Bucket(location, config)
    bucket.prepare(manifest, replace=replace)
    for name, entry in manifest.files.items():
        bucket.upload(folder / name, name, entry)
    bucket.put(MANIFEST_FILE, manifest.to_bytes())
    return manifest


class _Bucket:
    """The prefix of a bucket that is published to."""

    def __init__(self, location: Location, config: WeightsConfig) -> None:
        self._location = location
        self._client: Any = open_client(config.s3, str(location), config.parallel_downloads)
        self._transfer = TransferConfig(
            multipart_threshold=config.part_bytes,
            # S3 takes no smaller parts, but for the last.
            multipart_chunksize=max(config.part_bytes, 5 * 1024 * 1024),
            max_concurrency=config.parallel_downloads,
        )

    def prepare(self, manifest: Manifest, *, replace: bool) -> None:
        """Take an older manifest away before its files change."""
        where = self._location.file(MANIFEST_FILE)
        with s3_errors(where):
            try:
                there = self._client.get_object(**self._at(MANIFEST_FILE))["Body"].read()
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                    raise
                if error.response["Error"]["Code"] == "NoSuchBucket":
                    raise
                return
            if there == manifest.to_bytes():
                return
            if not replace:
                kind = "another model" if is_manifest(there) else "a file of that name that is no manifest"
                raise ManifestInvalid(f"{where}: there is {kind}; choose a new path, or say --replace")
            self._client.delete_object(**self._at(MANIFEST_FILE))

    def upload(self, path: Path, name: str, entry: ManifestEntry) -> None:
        """Send a file, unless it is there."""
        where = self._location.file(name)
        if self._has(name, entry):
            logger.info("%s is there already", where)
            return
        with s3_errors(where):
            try:
                self._client.upload_file(
                    str(path),
                    **self._at(name),
                    ExtraArgs={"Metadata": {"sha256": entry.sha256}},
                    Config=self._transfer,
                )
            except S3UploadFailedError as error:
                # It wraps what the service said.
                raise (error.__context__ or error) from None
        logger.info("Published %s: %s", where, in_words(entry.size))

    def put(self, name: str, content: bytes) -> None:
        """Write a small file."""
        with s3_errors(self._location.file(name)):
            self._client.put_object(**self._at(name), Body=content, ContentType="application/json")

    def _has(self, name: str, entry: ManifestEntry) -> bool:
        with s3_errors(self._location.file(name)):
            try:
                head = self._client.head_object(**self._at(name))
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                    return False
                raise
        return bool(head["ContentLength"] == entry.size and head["Metadata"].get("sha256") == entry.sha256)

    def _at(self, name: str) -> dict[str, str]:
        path = self._location.path
        return {"Bucket": self._location.place, "Key": f"{path}/{name}" if path else name}
