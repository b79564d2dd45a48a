"""A run is written, named by its day and machine, and read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bench import results as files


def test_what_is_written_is_read_again(tmp_path: Path, make_results: Any, make_cell: Any) -> None:
    results = make_results(make_cell("real", "qwen-serve", 8))

    path = results.write(tmp_path / "results")

    assert path.name == "2026-01-02-some-machine-2-cores.json"
    assert json.loads(path.read_text())["schema_version"] == 1
    assert files.read(path) == results


def test_file_of_another_schema_is_refused(tmp_path: Path, make_results: Any, make_cell: Any) -> None:
    path = make_results(make_cell("real", "qwen-serve", 8)).write(tmp_path)
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 2'))

    with pytest.raises(ValidationError, match="schema_version"):
        files.read(path)


def test_median_and_spread_are_over_the_rounds(make_cell: Any, make_round: Any) -> None:
    rounds = [make_round(tokens_per_s=rate, memory_mib=rate) for rate in (30, 10, 20)]
    cell = make_cell("real", "qwen-serve", 8, *rounds)

    assert cell.median(lambda one: one.tokens_per_s) == 20
    assert cell.spread(lambda one: one.tokens_per_s) == (10, 30)
    assert cell.peak_memory_mib == 30
