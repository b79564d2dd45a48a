"""Whatever goes wrong: an error that names the object and says what to do, and no half of a model."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployments.weights import ModelStore, WeightsConfig, WeightsError
from deployments.weights.errors import (
    AccessRefused,
    ChecksumMismatch,
    DiskFull,
    ManifestInvalid,
    NameUnsafe,
    ObjectChanged,
    ObjectMissing,
    SourceUnreachable,
    StreamBroken,
)
from tests.unit.deployments.weights.bucket import Gate, Seen

Holds = Callable[[Path], bool]


def _models(config: WeightsConfig) -> list[str]:
    return [path.name for path in config.cache_dir.glob("*") if not path.name.startswith(".")]


def _second_part(seen: Seen) -> bool:
    return seen.path.endswith("model-1.safetensors") and seen.range.startswith("bytes=65536-")


@pytest.mark.parametrize(
    ("status", "code", "kind", "advice"),
    [
        (400, "ExpiredToken", AccessRefused, "have expired; renew them"),
        (403, "RequestExpired", AccessRefused, "have expired; renew them"),
        (403, "InvalidAccessKeyId", AccessRefused, "check AWS_ACCESS_KEY_ID"),
        (403, "SignatureDoesNotMatch", AccessRefused, "check AWS_ACCESS_KEY_ID"),
        (403, "AccessDenied", AccessRefused, "allow these credentials s3:ListBucket and s3:GetObject"),
        (403, "RequestTimeTooSkewed", AccessRefused, "clock is wrong"),
        (403, "InvalidObjectState", ObjectMissing, "restore it first"),
        (404, "NoSuchKey", ObjectMissing, "no such object; publish the model again"),
        (412, "PreconditionFailed", ObjectChanged, "replaced while it was downloaded"),
        (501, "NotImplemented", SourceUnreachable, "the service answers 501 NotImplemented"),
    ],
)
def test_refusal_midway_names_the_object_and_the_next_try_goes_on(
    store: ModelStore,
    config: WeightsConfig,
    source: str,
    gate: Gate,
    holds: Holds,
    status: int,
    code: str,
    kind: type[WeightsError],
    advice: str,
) -> None:
    with (
        gate.breaks(lambda seen: (status, code) if _second_part(seen) else None),
        pytest.raises(kind, match=rf"^{source}/model-1\.safetensors: .*{advice}"),
    ):
        store.ensure(source)
    assert not _models(config)
    assert store.state(source).bytes_done > 0 or code == "NoSuchKey"
    assert holds(store.ensure(source).folder)


def test_listing_that_is_refused_names_the_model(store: ModelStore, source: str, gate: Gate) -> None:
    with gate.breaks(lambda _: (400, "ExpiredToken")), pytest.raises(AccessRefused, match=f"^{source}: "):
        store.ensure(source)


def test_stream_that_breaks_goes_on_at_the_byte_it_reached(
    store: ModelStore, source: str, gate: Gate, holds: Holds
) -> None:
    broken: list[str] = []

    def once(seen: Seen) -> int | None:
        if _second_part(seen) and not broken:
            broken.append(seen.range)
            return 20_000
        return None

    with gate.breaks(once):
        assert holds(store.ensure(source).folder)
    assert any(seen.range == "bytes=85536-131071" for seen in gate.parts())


def test_stream_that_brings_nothing_is_given_up(store: ModelStore, source: str, gate: Gate) -> None:
    with (
        gate.breaks(lambda seen: 0 if _second_part(seen) else None),
        pytest.raises(StreamBroken, match=r"model-1\.safetensors: the stream broke 2 times"),
    ):
        store.ensure(source)


def test_wrong_content_is_named_and_only_that_file_is_fetched_again(
    store: ModelStore, config: WeightsConfig, source: str, bucket: str, client: Any, gate: Gate, holds: Holds
) -> None:
    right = client.get_object(Bucket=bucket, Key="qwen/demo/model-2.safetensors")["Body"].read()
    client.put_object(Bucket=bucket, Key="qwen/demo/model-2.safetensors", Body=right[:-1] + b"!")
    with pytest.raises(ChecksumMismatch, match=rf"^{source}/model-2\.safetensors: its content is sha256:"):
        store.ensure(source)
    assert not _models(config)
    client.put_object(Bucket=bucket, Key="qwen/demo/model-2.safetensors", Body=right)
    gate.seen.clear()
    assert holds(store.ensure(source).folder)
    assert sum("model-2" in seen.path for seen in gate.parts()) == 3


def test_content_that_was_spoilt_on_this_disk_is_fetched_again_by_itself(
    store: ModelStore, config: WeightsConfig, source: str, gate: Gate, holds: Holds
) -> None:
    with (
        gate.breaks(lambda seen: (403, "AccessDenied") if "-2." in seen.path else None),
        pytest.raises(AccessRefused),
    ):
        store.ensure(source)
    (partial,) = (config.cache_dir / ".partial").iterdir()
    with (partial / "model" / "model-1.safetensors").open("r+b") as file:
        file.write(b"spoilt")
    # Complete files that had been verified are not measured again, so it must not have been.
    journal = (partial / "journal.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in journal if not line.startswith('["whole", "model-1')]
    (partial / "journal.jsonl").write_text("".join(kept))
    assert holds(store.ensure(source).folder)


def test_file_that_the_manifest_names_and_the_bucket_lacks(
    store: ModelStore, source: str, bucket: str, client: Any, gate: Gate
) -> None:
    client.delete_object(Bucket=bucket, Key="qwen/demo/merges.txt")
    with pytest.raises(ObjectMissing, match=rf"^{source}/merges\.txt: the manifest names it"):
        store.ensure(source)
    assert not gate.parts()


def test_file_of_another_size_than_the_manifest_says(
    store: ModelStore, source: str, bucket: str, client: Any
) -> None:
    client.put_object(Bucket=bucket, Key="qwen/demo/merges.txt", Body=b"1")
    with pytest.raises(ManifestInvalid, match=r"merges\.txt: 1 bytes, and the manifest says 0"):
        store.ensure(source)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"{", "Invalid JSON"),
        (b'{"format": "qwen-serve-weights", "version": 2, "files": {"a": 1}}', "version: Input should be 1"),
        (b'{"format": "qwen-serve-weights", "version": 1, "files": {}}', "files: Dictionary should have"),
    ],
)
def test_broken_manifest_is_not_passed_over(
    store: ModelStore, source: str, bucket: str, client: Any, content: bytes, complaint: str
) -> None:
    client.put_object(Bucket=bucket, Key="qwen/demo/manifest.json", Body=content)
    with pytest.raises(ManifestInvalid, match=rf"^{source}/manifest\.json: {complaint}"):
        store.ensure(source)


def test_manifest_json_of_the_checkpoint_itself_is_a_file_like_any(
    store: ModelStore, bucket: str, client: Any
) -> None:
    client.put_object(Bucket=bucket, Key="m/manifest.json", Body=b'{"of": "something else"}')
    assert os.listdir(store.ensure(f"s3://{bucket}/m").folder) == ["manifest.json"]


@pytest.mark.parametrize(
    "name", ["../up", "a/../../up", "/etc/passwd", "a//b", "a\\b", "bell\x07", "x" * 256]
)
def test_name_that_leads_out_of_its_folder_is_refused(
    store: ModelStore, config: WeightsConfig, bucket: str, client: Any, gate: Gate, name: str
) -> None:
    entry = f'{{"size": 0, "sha256": "{"0" * 64}"}}'
    escaped = name.replace("\\", "\\\\").replace("\x07", "\\u0007")
    listing = f'{{"format": "qwen-serve-weights", "version": 1, "files": {{"{escaped}": {entry}}}}}'
    client.put_object(Bucket=bucket, Key="m/manifest.json", Body=listing.encode())
    with pytest.raises((NameUnsafe, ObjectMissing)):
        store.ensure(f"s3://{bucket}/m")
    assert not config.cache_dir.exists()


def test_object_whose_name_leads_out_of_its_folder_is_refused(
    store: ModelStore, config: WeightsConfig, bucket: str, client: Any
) -> None:
    client.put_object(Bucket=bucket, Key="m/a/..", Body=b"")
    with pytest.raises(NameUnsafe, match=r"'a/\.\.' is no safe name"):
        store.ensure(f"s3://{bucket}/m")
    assert not config.cache_dir.exists()


def test_bucket_or_model_that_is_not_there(store: ModelStore, bucket: str) -> None:
    with pytest.raises(ObjectMissing, match="s3://no-such-bucket/m: no such bucket"):
        store.ensure("s3://no-such-bucket/m")
    with pytest.raises(ObjectMissing, match=f"s3://{bucket}/m: nothing is there"):
        store.ensure(f"s3://{bucket}/m")


def test_service_that_is_not_there(config: WeightsConfig) -> None:
    s3 = config.s3.model_copy(update={"endpoint_url": "http://127.0.0.1:9", "max_attempts": 1})
    with pytest.raises(SourceUnreachable, match=r"no answer .*check weights\.s3\.endpoint_url"):
        ModelStore(config.model_copy(update={"s3": s3})).ensure("s3://bucket/m")


def test_no_credentials(
    config: WeightsConfig, source: str, bucket: str, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    with pytest.raises(AccessRefused, match=r"no credentials; set AWS_ACCESS_KEY_ID"):
        ModelStore(config).ensure(source)
    client.put_bucket_acl(Bucket=bucket, ACL="public-read")
    for item in client.list_objects_v2(Bucket=bucket)["Contents"]:
        client.put_object_acl(Bucket=bucket, Key=item["Key"], ACL="public-read")
    s3 = config.s3.model_copy(update={"anonymous": True})
    assert ModelStore(config.model_copy(update={"s3": s3})).ensure(source).folder.is_dir()


def test_credentials_from_a_file(
    config: WeightsConfig, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    path = tmp_path / "credentials"

    def store(profile: str) -> ModelStore:
        s3 = config.s3.model_copy(update={"credentials_file": path, "profile": profile})
        return ModelStore(config.model_copy(update={"s3": s3}))

    with pytest.raises(AccessRefused, match=r"no such file; check weights\.s3\.credentials_file"):
        store("minio").ensure(source)
    path.write_text("[minio]\naws_access_key_id = key\naws_secret_access_key = secret\n")
    assert store("minio").ensure(source).folder.is_dir()
    with pytest.raises(AccessRefused, match=r"check weights\.s3\.profile"):
        store("other").ensure(source)


def test_disk_that_fills_up_midway(
    store: ModelStore,
    config: WeightsConfig,
    source: str,
    holds: Holds,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written, pwrite = [0], os.pwrite

    def limited(descriptor: int, data: bytes, position: int) -> int:
        # A small file that comes late must not be the one that is named.
        if written[0] > 200_000 and len(data) > 1000:
            raise OSError(errno.ENOSPC, "No space left on device")
        written[0] += len(data)
        return pwrite(descriptor, data, position)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", limited)
        with pytest.raises(DiskFull, match=r"model-\d\.safetensors: the disk is full; free some"):
            store.ensure(source)
    assert not _models(config)
    assert holds(store.ensure(source).folder)


def test_cache_that_cannot_be_made_says_what_to_do(
    config: WeightsConfig, source: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    store = ModelStore(config.model_copy(update={"cache_dir": tmp_path / "file" / "cache"}))
    with pytest.raises(WeightsError, match=r"or set weights\.cache_dir to another folder"):
        store.ensure(source)
