"""One S3 server for all tests of the model store, a bucket and an empty cache for each."""

from __future__ import annotations

import functools
import itertools
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from deployments.weights import ModelStore, S3Config, WeightsConfig
from deployments.weights.location import Location
from deployments.weights.publish import publish
from deployments.weights.s3 import open_client
from tests.unit.deployments.weights.bucket import Gate, serving

PART = 64 * 1024
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_NUMBER = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def one_loader() -> Iterator[None]:
    """Each client of ours reads the description of S3 anew, which is half of the time of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", functools.cache(botocore.session.create_loader))
        yield


@pytest.fixture(scope="session")
def server() -> Iterator[tuple[str, Gate]]:
    with serving() as running:
        yield running


@pytest.fixture
def gate(server: tuple[str, Gate]) -> Iterator[Gate]:
    gate = server[1]
    gate.seen.clear()
    yield gate
    gate.pause_s = 0


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in _CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(autouse=True)
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy disk takes a tenth of a second each time, and only a power cut would show what for."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(os, "fdatasync", lambda _: None)


@pytest.fixture
def config(server: tuple[str, Gate], tmp_path: Path) -> WeightsConfig:
    s3 = S3Config(endpoint_url=server[0], max_attempts=2, connect_timeout_s=5, read_timeout_s=5)
    return WeightsConfig(
        cache_dir=tmp_path / "cache", min_free_bytes=0, parallel_downloads=3, part_bytes=PART, s3=s3
    )


@pytest.fixture
def store(config: WeightsConfig) -> ModelStore:
    return ModelStore(config)


@pytest.fixture(scope="session")
def client(server: tuple[str, Gate]) -> Any:
    with pytest.MonkeyPatch.context() as environment:
        for name, value in _CREDENTIALS.items():
            environment.setenv(name, value)
        return open_client(S3Config(endpoint_url=server[0]), "tests", 4)


@pytest.fixture
def bucket(client: Any, gate: Gate) -> str:
    name = f"models-{next(_NUMBER)}"
    client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A small checkpoint: seven parts and a bit in two files, a folder, an empty file."""
    folder = tmp_path / "checkpoint"
    (folder / "1_Pooling").mkdir(parents=True)
    noise = random.Random(6)  # noqa: S311
    (folder / "model-1.safetensors").write_bytes(noise.randbytes(4 * PART + 100))
    (folder / "model-2.safetensors").write_bytes(noise.randbytes(3 * PART))
    (folder / "config.json").write_text('{"architectures": ["Qwen2ForCausalLM"]}')
    (folder / "1_Pooling" / "config.json").write_text("{}")
    (folder / "merges.txt").write_bytes(b"")
    return folder


@pytest.fixture
def source(bucket: str, checkpoint: Path, config: WeightsConfig, gate: Gate) -> str:
    """The checkpoint, published; the server has forgotten how."""
    address = f"s3://{bucket}/qwen/demo"
    publish(checkpoint, address, config)
    gate.seen.clear()
    return address


@pytest.fixture
def key(source: str, config: WeightsConfig) -> str:
    return Location.parse(source).key(config.s3.endpoint_url)


@pytest.fixture
def holds(checkpoint: Path) -> Callable[[Path], bool]:
    """Whether a folder has exactly the checkpoint's files."""
    return lambda folder: contents(folder) == contents(checkpoint)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, by name."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
