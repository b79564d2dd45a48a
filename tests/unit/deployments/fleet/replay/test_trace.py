"""Traces: files and made-up traffic."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.fleet.replay.scenario import ten_models
from deployments.fleet.replay.trace import TraceError, flat, read, write
from deployments.fleet.replay.traffic import GENERATORS, Traffic

SCENARIO = ten_models()
SMALL = Traffic(requests=2000)


@pytest.mark.parametrize("name", GENERATORS)
def test_made_up_traffic_is_the_same_for_the_same_seed(name: str) -> None:
    first, again = (list(flat(GENERATORS[name](SCENARIO, SMALL))) for _ in range(2))
    assert first == again
    assert 1500 < len(first) < 2900


def test_popularity_follows_zipf() -> None:
    sessions = GENERATORS["zipf"](SCENARIO, Traffic(requests=40_000))
    share = sum(one.model == SCENARIO.names[0] for one in sessions) / len(sessions)
    assert share == pytest.approx(0.645, abs=0.03)


def test_night_has_little_traffic() -> None:
    sessions = GENERATORS["zipf"](SCENARIO, Traffic(requests=40_000))
    night = sum(one.at < 6 * 3600 for one in sessions)
    noon = sum(11 * 3600 <= one.at < 17 * 3600 for one in sessions)
    assert night < noon / 8


def test_own_file_keeps_sessions(tmp_path: Path) -> None:
    made = GENERATORS["zipf"](SCENARIO, SMALL)
    write(tmp_path / "t.csv", made)
    back = read(tmp_path / "t.csv", SCENARIO.names, 2, 1)
    assert len(back) == len(made)
    assert [(r.model, r.output_tokens) for r in flat(back)] == [
        (r.model, r.output_tokens) for r in flat(made)
    ]
    assert [r.pause_s for r in flat(back)] == pytest.approx([r.pause_s for r in flat(made)], abs=1e-3)


def test_azure_file_starts_at_zero_and_gets_models(tmp_path: Path) -> None:
    path = tmp_path / "azure.csv"
    path.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:15:46.6805900,374,44\n"
        "2023-11-16 18:15:50.9951690,396,109\n"
    )
    trace = read(path, SCENARIO.names, 2, 1)
    assert [round(r.at, 3) for r in trace] == [0, 4.315]
    assert [(r.prompt_tokens, r.output_tokens) for r in trace] == [(374, 44), (396, 109)]
    assert {r.model for r in trace} <= set(SCENARIO.names)


def test_azure_file_may_name_its_models(tmp_path: Path) -> None:
    path = tmp_path / "azure.csv"
    path.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens,Model\n"
        f"2024-05-10 00:00:00.009930+00:00,1,0,{SCENARIO.names[3]}\n"
    )
    (request,) = read(path, SCENARIO.names, 2, 1)
    assert (request.model, request.output_tokens) == (SCENARIO.names[3], 1)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a,b\n1,2\n", "columns must be"),
        ("at_s,model,prompt_tokens,output_tokens\n1,nobody,1,1\n", "line 2: no model 'nobody'"),
        ("at_s,model,prompt_tokens,output_tokens\nsoon,nobody,1,1\n", "line 2: could not convert"),
    ],
)
def test_file_that_is_no_trace_is_refused_with_its_line(tmp_path: Path, text: str, error: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(TraceError, match=error):
        read(tmp_path / "t.csv", SCENARIO.names, 2, 1)
