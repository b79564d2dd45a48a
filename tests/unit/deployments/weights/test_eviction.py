"""The budget holds: what was unused for longest goes, what is in use stays."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployments.weights import ModelStore, WeightsConfig, eviction
from deployments.weights.cache import Cache
from deployments.weights.errors import DiskFull
from tests.unit.deployments.weights.bucket import Gate

Publish = Callable[[str], str]


@pytest.fixture
def put(bucket: str, client: Any) -> Publish:
    """A model of 1000 bytes."""

    def _put(name: str) -> str:
        client.put_object(Bucket=bucket, Key=f"{name}/weights", Body=name.encode() * 1000)
        return f"s3://{bucket}/{name}"

    return _put


@pytest.fixture
def small(config: WeightsConfig) -> ModelStore:
    """Room for two models."""
    return ModelStore(config.model_copy(update={"max_bytes": 2500}))


def _held(config: WeightsConfig) -> set[str]:
    return {path.name[0] for path in config.cache_dir.glob("*") if not path.name.startswith(".")}


def test_model_unused_for_longest_makes_room(small: ModelStore, config: WeightsConfig, put: Publish) -> None:
    for name in "aba":
        small.ensure(put(name)).release()
    small.ensure(put("c")).release()
    assert _held(config) == {"a", "c"}


def test_model_in_use_stays_though_it_is_older(
    small: ModelStore, config: WeightsConfig, put: Publish
) -> None:
    lease = small.ensure(put("a"))
    for name in "bc":
        small.ensure(put(name)).release()
    assert _held(config) == {"a", "c"}
    assert lease.folder.is_dir()


def test_nothing_is_evicted_in_vain(small: ModelStore, config: WeightsConfig, put: Publish) -> None:
    lease, other = small.ensure(put("a")), small.ensure(put("b"))
    with pytest.raises(
        DiskFull, match=r"c-\w+-\w+ takes 1000 bytes, 500 bytes more than weights.max_bytes of 2.4 KiB"
    ):
        small.ensure(put("c"))
    assert _held(config) == {"a", "b"}
    for held in (lease, other):
        held.release()
    small.ensure(put("c"))


def test_model_larger_than_the_budget_evicts_nothing(
    small: ModelStore, config: WeightsConfig, put: Publish
) -> None:
    small.ensure(put("a")).release()
    with pytest.raises(DiskFull, match="raise it"):
        small.ensure(put("large"))
    assert _held(config) == {"a"}


def test_disk_without_room_evicts_then_says_what_it_lacks(
    config: WeightsConfig, put: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ModelStore(config)
    store.ensure(put("a")).release()
    monkeypatch.setattr(eviction, "free_bytes", lambda _: 100)
    store.ensure(put("b")).release()
    assert _held(config) == {"b"}
    monkeypatch.setattr(eviction, "free_bytes", lambda _: -100)
    with pytest.raises(DiskFull, match="the disk lacks 100 bytes of that"):
        store.ensure(put("c"))


def test_abandoned_download_makes_room_too_and_an_outdated_one_goes_at_once(
    small: ModelStore, config: WeightsConfig, put: Publish, gate: Gate, bucket: str, client: Any
) -> None:
    for name in "ab":
        source = put(name)
        with (
            gate.breaks(lambda seen: (403, "AccessDenied") if seen.range else None),
            pytest.raises(Exception, match="denied"),
        ):
            small.ensure(source)
    client.put_object(Bucket=bucket, Key="b/weights", Body=b"B" * 1000)
    small.ensure(f"s3://{bucket}/b").release()
    assert [path.name[0] for path in (config.cache_dir / ".partial").iterdir()] == ["a"]
    small.ensure(put("c")).release()
    assert not list((config.cache_dir / ".partial").iterdir())


def test_what_a_killed_eviction_left_is_cleared_away(
    small: ModelStore, config: WeightsConfig, put: Publish
) -> None:
    folder = small.ensure(put("a")).folder
    shutil.copytree(folder, config.cache_dir / ".trash" / "left", dirs_exist_ok=True)
    small.ensure(put("b"))
    assert not list((config.cache_dir / ".trash").iterdir())
    assert Path(folder).is_dir()


def test_model_that_is_only_looked_at_by_an_eviction_is_waited_for(
    small: ModelStore, config: WeightsConfig, put: Publish, gate: Gate
) -> None:
    small.ensure(put("a")).release()
    (name,) = Cache(config.cache_dir).names()
    claim = Cache(config.cache_dir).claim(name)
    assert claim is not None
    gate.seen.clear()
    timer = threading.Timer(0.1, claim.release)
    timer.start()
    small.ensure(put("a")).release()
    timer.join()
    assert not gate.parts()
