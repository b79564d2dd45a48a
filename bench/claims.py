"""What the README promises, checked against the rounds of one run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator

from bench.results import Cell, Results, Round, Verdict

_OURS = "qwen-serve"


def verdicts(results: Results) -> tuple[Verdict, ...]:
    """Every promise for which the run has both sides; ratios are taken round by round, then their median."""
    return tuple(_verdicts(results))


def _verdicts(results: Results) -> Iterator[Verdict]:
    failed = [cell.failed for cell in results.cells if cell.peer == _OURS]
    if failed:
        yield Verdict(
            promise="streams of qwen-serve that were not whole", value=sum(failed), bound=0, at_least=False
        )
    ours = results.find("simulated", _OURS, 32)
    if ours is not None:
        cost = ours.median(_cost)
        yield Verdict(
            promise="simulated, 32 clients: framework CPU per token, us", value=cost, bound=60, at_least=False
        )
    for other in ("Serve default", "LiteLLM"):
        theirs = results.find("simulated", other, 32)
        yield from _at_least(ours, theirs, 10, f"simulated, 32 clients: tokens/s, times {other}'s")
    most = results.find("simulated", _OURS, 256)
    if ours is not None and most is not None:
        change = _over_rounds(most, ours, lambda one, other: abs(_cost(one) / _cost(other) - 1) * 100)
        yield Verdict(
            promise="simulated: change of CPU per token from 32 to 256 clients, %",
            value=change,
            bound=25,
            at_least=False,
        )
    alone, bare = results.find("real", _OURS, 1), results.find("real", "bare vLLM", 1)
    if alone is not None and bare is not None:
        above = _over_rounds(alone, bare, lambda one, other: one.ttft_p50_ms - other.ttft_p50_ms)
        yield Verdict(
            promise="real, 1 client: TTFT p50 above bare vLLM's, ms", value=above, bound=5, at_least=False
        )
    full = results.find("real", _OURS, 32)
    for other, bound in (("bare vLLM", 0.7), ("ray.serve.llm", 2.0)):
        theirs = results.find("real", other, 32)
        yield from _at_least(full, theirs, bound, f"real, 32 clients: tokens/s, times {other}'s")


def _at_least(ours: Cell | None, theirs: Cell | None, bound: float, promise: str) -> Iterator[Verdict]:
    if ours is not None and theirs is not None:
        ratio = _over_rounds(ours, theirs, lambda one, other: one.tokens_per_s / other.tokens_per_s)
        yield Verdict(promise=promise, value=ratio, bound=bound, at_least=True)


def _over_rounds(ours: Cell, theirs: Cell, compare: Callable[[Round, Round], float]) -> float:
    """Both sides of a round ran within a minute of each other, so what disturbs the machine meets both."""
    return statistics.median(map(compare, ours.rounds, theirs.rounds))


def _cost(one: Round) -> float:
    return one.cpu_us_per_token
