"""An address becomes a verified folder, once for all who ask, and stays right whatever the source does."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from deployments.weights import ModelState, ModelStore, Phase, WeightsConfig
from deployments.weights.errors import AccessRefused, ManifestInvalid, ObjectMissing, SourceUnreachable
from deployments.weights.lock import Lock
from deployments.weights.manifest import MANIFEST_FILE, Manifest
from deployments.weights.publish import publish
from tests.unit.deployments.weights.bucket import Gate
from tests.unit.deployments.weights.fetcher import fetching

Holds = Callable[[Path], bool]


def test_published_model_arrives_whole(store: ModelStore, source: str, holds: Holds) -> None:
    with store.ensure(source) as folder:
        assert holds(folder)


def test_every_part_is_fetched_once_and_a_second_call_fetches_none(
    store: ModelStore, source: str, gate: Gate
) -> None:
    store.ensure(source).release()
    ranges = [(seen.path, seen.range) for seen in gate.parts()]
    assert len(ranges) == len(set(ranges)) == 5 + 3 + 1 + 1
    gate.seen.clear()
    store.ensure(source).release()
    assert not gate.parts()


def test_four_processes_and_threads_make_one_download(
    config: WeightsConfig, store: ModelStore, source: str, gate: Gate, holds: Holds
) -> None:
    gate.pause_s = 0.02
    with fetching() as one, fetching() as other, ThreadPoolExecutor(2) as pool:
        one.begin(config, source)
        other.begin(config, source)
        leases = list(pool.map(store.ensure, [source] * 2))
        assert (one.end(), other.end()) == (0, 0)
    assert all(holds(lease.folder) for lease in leases)
    assert len(gate.parts()) == 10


def test_model_without_manifest_is_checked_by_what_s3_knows(
    store: ModelStore, bucket: str, client: Any, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    client.put_object(Bucket=bucket, Key="m/by-md5", Body=b"one")
    client.put_object(Bucket=bucket, Key="m/by-sha256", Body=b"two", ChecksumAlgorithm="SHA256")
    upload = client.create_multipart_upload(Bucket=bucket, Key="m/by-size")["UploadId"]
    at = {"Bucket": bucket, "Key": "m/by-size", "UploadId": upload}
    tag = client.upload_part(**at, PartNumber=1, Body=b"three")["ETag"]
    client.complete_multipart_upload(**at, MultipartUpload={"Parts": [{"ETag": tag, "PartNumber": 1}]})
    client.put_object(Bucket=bucket, Key="m/folder/", Body=b"")
    lease = store.ensure(f"s3://{bucket}/m")
    assert sorted(path.name for path in lease.folder.iterdir()) == ["by-md5", "by-sha256", "by-size"]
    assert "of 1 of its 3 files only the size is checked" in caplog.text


def test_require_manifest_refuses_a_bucket_and_a_folder_without_one(
    config: WeightsConfig, bucket: str, client: Any, checkpoint: Path
) -> None:
    client.put_object(Bucket=bucket, Key="m/config.json", Body=b"{}")
    strict = ModelStore(config.model_copy(update={"require_manifest": True}))
    for source in (f"s3://{bucket}/m", str(checkpoint)):
        with pytest.raises(ManifestInvalid, match=r"python -m deployments\.weights"):
            strict.ensure(source)
    (checkpoint / MANIFEST_FILE).write_bytes(Manifest.of_folder(checkpoint).to_bytes())
    assert strict.ensure(str(checkpoint)).folder == checkpoint


def test_sums_file_serves_as_a_manifest(
    store: ModelStore, bucket: str, client: Any, checkpoint: Path
) -> None:
    entry = Manifest.of_folder(checkpoint).files["config.json"]
    client.upload_file(str(checkpoint / "config.json"), bucket, "m/config.json")
    client.put_object(Bucket=bucket, Key="m/SHA256SUMS", Body=f"{entry.sha256} *./config.json\n".encode())
    client.put_object(Bucket=bucket, Key="m/not-listed", Body=b"")
    assert os.listdir(store.ensure(f"s3://{bucket}/m").folder) == ["config.json"]


def test_new_content_at_the_same_address_is_another_model(
    store: ModelStore, config: WeightsConfig, source: str, checkpoint: Path, holds: Holds
) -> None:
    old = store.ensure(source)
    (checkpoint / "config.json").write_text("{}")
    publish(checkpoint, source, config, replace=True)
    new = store.ensure(source)
    assert holds(new.folder)
    assert not holds(old.folder)
    assert old.folder.is_dir()


def test_source_that_does_not_answer_leaves_the_verified_copy(
    store: ModelStore, config: WeightsConfig, source: str, gate: Gate, holds: Holds
) -> None:
    with gate.breaks(lambda _: (503, "SlowDown")), pytest.raises(SourceUnreachable, match="503 SlowDown"):
        store.ensure(source)
    store.ensure(source).release()
    with gate.breaks(lambda _: (503, "SlowDown")):
        assert holds(store.ensure(source).folder)
        strict = config.model_copy(update={"use_cached_when_unreachable": False})
        with pytest.raises(SourceUnreachable):
            ModelStore(strict).ensure(source)


def test_damaged_model_is_fetched_again(store: ModelStore, source: str, holds: Holds) -> None:
    lease = store.ensure(source)
    lease.release()
    (lease.folder / "config.json").unlink()
    assert holds(store.ensure(source).folder)


def test_folder_is_used_where_it_lies(store: ModelStore, checkpoint: Path) -> None:
    assert store.ensure(str(checkpoint)).folder == checkpoint
    (checkpoint / MANIFEST_FILE).write_bytes(Manifest.of_folder(checkpoint).to_bytes())
    (checkpoint / "config.json").unlink()
    with pytest.raises(ManifestInvalid, match=r"config\.json: missing"):
        store.ensure(str(checkpoint))
    with pytest.raises(ObjectMissing, match="no such folder"):
        store.ensure(str(checkpoint / "nothing"))


def test_state_follows_a_model_from_absent_to_ready(
    store: ModelStore, source: str, gate: Gate, checkpoint: Path
) -> None:
    total = sum(path.stat().st_size for path in checkpoint.rglob("*") if path.is_file())
    states: list[ModelState] = []

    def watch(seen: Any) -> tuple[int, str] | None:
        if seen.range and "manifest" not in seen.path:
            states.append(store.state(source))
        return (403, "AccessDenied") if len(states) == 5 else None

    assert store.state(source).phase is Phase.ABSENT
    with gate.breaks(watch), pytest.raises(Exception, match="access is denied"):
        store.ensure(source)
    assert {(state.phase, state.bytes_total) for state in states} == {(Phase.DOWNLOADING, total)}
    failed = store.state(source)
    assert failed.phase is Phase.FAILED
    assert "access is denied" in failed.message
    assert 0 < failed.bytes_done < total
    store.ensure(source)
    assert store.state(source) == ModelState(Phase.READY, total, total)


def test_progress_is_in_the_log(
    config: WeightsConfig, source: str, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ray.serve")
    gate.pause_s = 0.02
    ModelStore(config.model_copy(update={"progress_interval_s": 0.01})).ensure(source)
    # The manifest is one of the files, and as long as the bucket's name makes it.
    size = r"448\.\d KiB"
    assert re.search(rf"Downloading {source}: {size} in 5 files, 0 bytes of it here already", caplog.text)
    assert re.search(rf"of {size} \(", caplog.text)
    assert re.search(rf"Downloaded {source}: {size} fetched in", caplog.text)


def test_cache_that_cannot_be_touched_still_serves(
    store: ModelStore, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.ensure(source).release()

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    assert store.ensure(source).folder.is_dir()


def test_cache_behind_a_link_is_one_cache(config: WeightsConfig, source: str, gate: Gate) -> None:
    config.cache_dir.mkdir()
    (config.cache_dir.parent / "link").symlink_to(config.cache_dir)
    ModelStore(config).ensure(source)
    gate.seen.clear()
    other = config.model_copy(update={"cache_dir": config.cache_dir.parent / "link"})
    ModelStore(other).ensure(source)
    assert not gate.parts()


def test_link_in_a_download_is_not_followed(
    store: ModelStore, config: WeightsConfig, source: str, gate: Gate, holds: Holds, tmp_path: Path
) -> None:
    with (
        gate.breaks(lambda seen: (403, "AccessDenied") if seen in gate.parts() else None),
        pytest.raises(AccessRefused),
    ):
        store.ensure(source)
    (partial,) = (config.cache_dir / ".partial").iterdir()
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (partial / "model" / "config.json").unlink()
    (partial / "model" / "config.json").symlink_to(victim)
    assert holds(store.ensure(source).folder)
    assert victim.read_bytes() == b"mine"


def test_lease_ends_with_its_release(store: ModelStore, source: str) -> None:
    lease = store.ensure(source)
    seal = lease.folder.parent / "seal.json"
    assert Lock.take(seal, exclusive=True) is None
    lease.release()
    lock = Lock.take(seal, exclusive=True)
    assert lock is not None
    lock.release()
