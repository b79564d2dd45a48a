"""Promises are kept or not by the figures of one run, compared round by round."""

from __future__ import annotations

from typing import Any

from bench import claims


def test_a_run_without_the_sides_of_a_promise_says_nothing_of_it(make_results: Any, make_cell: Any) -> None:
    assert claims.verdicts(make_results(make_cell("simulated", "LiteLLM", 32))) == ()


def test_cost_and_throughput_are_judged_at_32_clients(
    make_results: Any, make_cell: Any, make_round: Any
) -> None:
    ours = make_cell("simulated", "qwen-serve", 32, make_round(tokens_per_s=20_000, cpu_us=61))
    theirs = make_cell("simulated", "LiteLLM", 32, make_round(tokens_per_s=1_000))

    whole, cost, ratio = claims.verdicts(make_results(ours, theirs))

    assert whole.kept
    assert (cost.value, cost.kept) == (61, False)
    assert (ratio.value, ratio.kept) == (20, True)


def test_ratios_are_taken_round_by_round(make_results: Any, make_cell: Any, make_round: Any) -> None:
    ours = [make_round(tokens_per_s=rate) for rate in (100, 20, 60)]
    theirs = [make_round(tokens_per_s=rate) for rate in (50, 10, 10)]
    run = make_results(
        make_cell("real", "qwen-serve", 32, *ours), make_cell("real", "ray.serve.llm", 32, *theirs)
    )

    _, verdict = claims.verdicts(run)

    assert verdict.value == 2, "the median of 2, 2 and 6, not 60 / 10"
    assert verdict.kept


def test_cost_that_falls_with_more_clients_is_a_change_too(
    make_results: Any, make_cell: Any, make_round: Any
) -> None:
    few = make_cell("simulated", "qwen-serve", 32, make_round(cpu_us=50))
    many = make_cell("simulated", "qwen-serve", 256, make_round(cpu_us=30))

    _, _, change = claims.verdicts(make_results(few, many))

    assert round(change.value) == 40
    assert not change.kept


def test_time_to_first_token_is_compared_with_bare_vllm(
    make_results: Any, make_cell: Any, make_round: Any
) -> None:
    ours = make_cell("real", "qwen-serve", 1, make_round(ttft_ms=14))
    bare = make_cell("real", "bare vLLM", 1, make_round(ttft_ms=10))

    _, verdict = claims.verdicts(make_results(ours, bare))

    assert (verdict.value, verdict.kept) == (4, True)


def test_a_single_stream_that_is_not_whole_breaks_the_promise(
    make_results: Any, make_cell: Any, make_round: Any
) -> None:
    cell = make_cell("real", "qwen-serve", 8, make_round(), make_round(failed=1))

    (whole,) = claims.verdicts(make_results(cell))

    assert (whole.value, whole.kept) == (1, False)
