"""The load of an engine travels through Serve as numbers and comes out as it went in."""

from __future__ import annotations

import subprocess
import sys

import pytest

from deployments.load import EngineLoad, StepClock

BUSY = EngineLoad(
    waiting=4,
    running=2,
    queued_prompt_tokens=48,
    kv_cache_usage=0.25,
    step_s=0.02,
    requests_total=9,
)


@pytest.mark.parametrize("load", [BUSY, EngineLoad(), EngineLoad(waiting=1, kv_cache_usage=None)])
def test_load_comes_out_as_it_went_in(load: EngineLoad) -> None:
    stats = load.to_stats()
    assert all(isinstance(value, int | float) for value in stats.values())
    assert EngineLoad.from_stats(stats) == load


def test_names_are_stable() -> None:
    assert BUSY.to_stats() == {
        "waiting": 4,
        "running": 2,
        "queued_prompt_tokens": 48,
        "kv_cache_usage": 0.25,
        "step_s": 0.02,
        "requests_total": 9,
    }


def test_other_figures_are_ignored_and_means_are_rounded() -> None:
    stats = BUSY.to_stats() | {"running_requests": 7.0, "waiting": 3.6}
    assert EngineLoad.from_stats(stats) == BUSY


def test_replica_that_has_not_reported_has_no_load() -> None:
    with pytest.raises(KeyError, match="waiting"):
        EngineLoad.from_stats({"running_requests": 0.0})


def test_steps_are_timed_only_while_there_is_work() -> None:
    times = iter([0.0, 0.5, 1.0, 9.0, 9.5])
    clock = StepClock(lambda: next(times))
    clock.stepped(more=True)
    assert clock.average_s == 0
    clock.stepped(more=True)
    clock.stepped(more=False)
    # Eight seconds of idleness; the step after them began nobody knows when.
    clock.stepped(more=True)
    clock.stepped(more=False)
    assert clock.average_s == pytest.approx(0.5)


def test_average_follows_the_newest_steps() -> None:
    now = 0.0
    clock = StepClock(lambda: now)
    for step_s in (0.0, *[0.1] * 50, *[0.3] * 100):
        now += step_s
        clock.stepped(more=True)
    assert clock.average_s == pytest.approx(0.3, rel=0.01)


def test_reading_side_loads_no_heavy_library() -> None:
    probe = (
        "import sys, deployments.load\n"
        "heavy = {'torch', 'vllm', 'ray', 'numpy', 'pydantic'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
