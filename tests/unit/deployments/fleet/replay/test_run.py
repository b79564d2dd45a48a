"""Whole replays, of an hour."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.fleet.__main__ import main
from deployments.fleet.replay.run import POLICIES, replay
from deployments.fleet.replay.scenario import ten_models
from deployments.fleet.replay.trace import Request, fresh
from deployments.fleet.replay.traffic import Traffic, zipf

HOUR = Traffic(requests=800, trough=1, duration_s=3600)
SCENARIO = ten_models()
TRACE = zipf(SCENARIO, HOUR)


@pytest.mark.parametrize("policy", POLICIES)
def test_replay_is_the_same_for_the_same_seed_and_leaves_the_trace_alone(policy: str) -> None:
    before = fresh(TRACE)
    assert replay(policy, SCENARIO, TRACE) == replay(policy, SCENARIO, TRACE)
    assert before == TRACE


def test_dedicated_gpus_are_held_all_the_time() -> None:
    outcome = replay("dedicated", SCENARIO, TRACE)
    assert outcome.gpu_hours == pytest.approx(11 * TRACE[-1].at / 3600, rel=0.01)
    assert outcome.cold_starts == 10


@pytest.mark.parametrize("policy", ["fleet", "serve-default", "keda"])
def test_never_more_gpus_than_there_are(policy: str) -> None:
    outcome = replay(policy, SCENARIO, TRACE)
    assert max(gpus for _, gpus in outcome.usage) <= 4


def test_fleet_serves_more_than_those_that_evict_nothing() -> None:
    ours, serve, keda = (replay(policy, SCENARIO, TRACE) for policy in ("fleet", "serve-default", "keda"))
    assert ours.unserved < min(serve.unserved, keda.unserved)
    assert ours.met_all >= max(serve.met_all, keda.met_all)
    assert ours.met_worst > max(serve.met_worst, keda.met_worst)


def test_client_gives_up_after_its_patience_and_counts_as_late() -> None:
    big = "qwen2.5-72b-instruct-int4"
    following = Request(0, big, 10, 10, pause_s=1)
    nowhere = ten_models((1, 1, 1))
    outcome = replay("keda", nowhere, [Request(50, big, 10, 10, then=following)])
    assert outcome.unserved == 2
    assert outcome.wait_max_s == 600


def test_baselines_go_to_zero_in_their_own_time() -> None:
    name = SCENARIO.names[2]
    trace = [Request(10, name, 10, 10), Request(3000, SCENARIO.names[0], 10, 10)]
    hours = {
        policy: replay(policy, SCENARIO, trace).share_hours * 3600 for policy in ("keda", "serve-default")
    }
    pinned = 3000 * 1.25
    assert hours["keda"] - pinned == pytest.approx(90 + 360, abs=40)
    assert hours["serve-default"] - pinned == pytest.approx(90 + 30 + 600, abs=40)


def test_command_prints_a_table_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture, file = tmp_path / "p.png", tmp_path / "t.csv"
    policies = ["--policy", "keda", "dedicated"]
    assert (
        main(["replay", "zipf", "--requests", "300", "--plot", str(picture), "--write", str(file), *policies])
        == 0
    )
    assert picture.stat().st_size > 10_000
    made_up = capsys.readouterr().out.splitlines()
    assert main(["replay", str(file), *policies]) == 0
    assert capsys.readouterr().out.splitlines()[0].strip() == made_up[0].strip()


def test_command_names_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "nowhere.csv"]) == 1
    assert "nowhere.csv" in capsys.readouterr().err
