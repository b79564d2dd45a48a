"""SIGKILL at any moment: the model is whole or absent, and no finished part is fetched twice."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from deployments.weights import WeightsConfig
from deployments.weights.cache import Cache
from deployments.weights.partial import Partial
from tests.unit.deployments.weights.bucket import Gate
from tests.unit.deployments.weights.fetcher import Fetcher, fetching

KILLS = 50
_DEADLINE_S = 60


def _finished(cache: Cache) -> set[tuple[str, str]]:
    """Parts that the journal says are done, as the server would see them asked for."""
    found = set()
    for name in cache.partial_names():
        record = Partial.peek(cache.partial_path(name))
        for file, parts in (record.parts if record else {}).items():
            found |= {(file, f"bytes={start}-{end - 1}") for start, end in parts}
    return found


def _models(config: WeightsConfig) -> list[Path]:
    return [path for path in config.cache_dir.glob("*") if not path.name.startswith(".")]


def _run(fetcher: Fetcher, config: WeightsConfig, source: str, gate: Gate, noise: random.Random) -> int:
    """One download that is killed at a random moment, most often once it has begun to fetch."""
    gate.seen.clear()
    process = fetcher.begin(config, source)
    deadline = time.monotonic() + _DEADLINE_S
    # The first two requests are for the list of objects and the manifest.
    early = noise.random() < 0.1
    while not early and len(gate.seen) < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(noise.uniform(0, 0.12))
    os.kill(process, signal.SIGKILL)
    return fetcher.end()


def test_fifty_kills(config: WeightsConfig, source: str, gate: Gate, holds: Callable[[Path], bool]) -> None:
    noise = random.Random(50)  # noqa: S311
    cache = Cache(config.cache_dir)
    gate.pause_s = 0.01
    kills = resumed = completed = 0
    with fetching() as fetcher:
        while kills < KILLS:
            before = _finished(cache)
            status = _run(fetcher, config, source, gate, noise)
            kills += status == -signal.SIGKILL
            asked = {(seen.path.rpartition("/demo/")[2], seen.range) for seen in gate.parts()}
            assert not asked & before
            resumed += bool(before)
            models = _models(config)
            assert all(holds(model / "model") for model in models)
            assert status in (0, -signal.SIGKILL)
            assert models or status != 0
            if models:
                completed += 1
                shutil.rmtree(config.cache_dir)
    assert resumed > KILLS // 5
    assert completed > 2


def test_kill_before_each_step_on_the_caches_files(
    config: WeightsConfig, source: str, holds: Callable[[Path], bool]
) -> None:
    one = config.model_copy(update={"parallel_downloads": 1})
    status, step = -signal.SIGKILL, 0
    with fetching() as fetcher:
        while status == -signal.SIGKILL and step < 500:
            step += 1
            fetcher.begin(one, source, die_at=step)
            status = fetcher.end()
            assert all(holds(model / "model") for model in _models(config))
    # Every run goes on where the last one died, so that the last steps are those of completing the model.
    assert status == 0
    assert step > 30
