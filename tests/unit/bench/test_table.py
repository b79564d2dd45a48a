"""The table has a row for each engine, number of clients and peer."""

from __future__ import annotations

from typing import Any

from bench import table
from bench.results import Verdict


def test_rows_come_by_engine_clients_and_the_order_of_the_peers(make_results: Any, make_cell: Any) -> None:
    run = make_results(
        make_cell("simulated", "bare uvicorn", 32),
        make_cell("simulated", "qwen-serve", 32),
        make_cell("simulated", "bare uvicorn", 1),
        make_cell("real", "qwen-serve", 1),
    )

    rows = [[part.strip() for part in line.split("|")[1:4]] for line in table.render(run).splitlines()[2:]]

    assert rows == [
        ["real", "1", "qwen-serve"],
        ["simulated", "1", "bare uvicorn"],
        ["simulated", "32", "bare uvicorn"],
        ["simulated", "32", "qwen-serve"],
    ]


def test_figures_are_medians_with_their_spread(make_results: Any, make_cell: Any, make_round: Any) -> None:
    rounds = [make_round(tokens_per_s=rate, memory_mib=rate) for rate in (1000, 3000, 2000)]

    row = table.render(make_results(make_cell("real", "qwen-serve", 1, *rounds))).splitlines()[2]

    assert "2,000 (1,000 to 3,000)" in row
    assert "10.00 / 20.00" in row
    assert row.split("|")[-2].strip() == "3,000"


def test_verdicts_say_pass_or_short() -> None:
    kept = Verdict(promise="fast", value=2, bound=1, at_least=True)
    broken = Verdict(promise="cheap", value=2, bound=1, at_least=False)

    assert table.render_verdicts([kept, broken]) == (
        "pass   fast: 2.00 (at least 1)\nSHORT  cheap: 2.00 (at most 1)\n"
    )
