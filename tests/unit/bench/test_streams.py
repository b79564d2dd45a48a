"""What `bench.streams` prints are medians."""

from __future__ import annotations

from typing import Any

from bench.streams import summary


def test_summary_is_the_median_over_the_rounds(make_cell: Any, make_round: Any) -> None:
    rounds = [make_round(tokens_per_s=rate, cpu_us=rate) for rate in (30, 10, 20)]

    printed = summary(make_cell("real", "qwen-serve", 8, *rounds))

    assert printed["streams"] == 8
    assert printed["tokens_per_s"] == 20
    assert printed["cpu_us_per_token"] == {"engine": 200, "ingress": 20}
