"""Many traces, not one: the fixed set by which the policy is judged, good or bad.

The set was fixed before the policy was last changed. The rules' figures may be chosen on ``SEEDS``; the
traces of ``UNSEEN_SEEDS`` are only for judging what was chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from statistics import fmean

from deployments.fleet.replay.outcome import Outcome
from deployments.fleet.replay.run import POLICIES, replay
from deployments.fleet.replay.scenario import ten_models
from deployments.fleet.replay.traffic import Traffic, zipf

EXPONENTS = (1.0, 1.5, 2.0)
SEEDS = (1, 2, 3)
UNSEEN_SEEDS = (7, 8, 9)


@dataclass(frozen=True, slots=True)
class Case:
    """One trace for one policy.

    Attributes:
        exponent: Of Zipf's law.
        open_loop: Whether requests come at fixed times, answered or not.
        seed: Of the trace and of the load times.
        policy: Which.
    """

    exponent: float
    open_loop: bool
    seed: int
    policy: str


def cases(seeds: Iterable[int], policies: Iterable[str] = POLICIES) -> list[Case]:
    """All of them: every exponent, both loops, every seed, every policy."""
    return [Case(*each) for each in product(EXPONENTS, (False, True), seeds, policies)]


def run(which: Sequence[Case], processes: int) -> list[Outcome]:
    """Their outcomes, in the same order."""
    with ProcessPoolExecutor(processes) as pool:
        return list(pool.map(_run, which))


def _run(case: Case) -> Outcome:
    scenario = ten_models()
    traffic = Traffic(exponent=case.exponent, open_loop=case.open_loop, seed=case.seed)
    return replay(case.policy, scenario, zipf(scenario, traffic), seed=case.seed)


def report(which: Sequence[Case], outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Lines of a Markdown table: a row for each kind of trace and policy, means over the seeds."""
    yield "| exponent | loop | policy | GPU-hours | all in time | hot in time | worst model | given up |"
    yield "|---|---|---|---|---|---|---|---|"
    together: dict[tuple[float, bool, str], list[Outcome]] = {}
    for case, outcome in zip(which, outcomes, strict=True):
        together.setdefault((case.exponent, case.open_loop, case.policy), []).append(outcome)
    for (exponent, open_loop, policy), found in together.items():
        hours = fmean(one.gpu_hours for one in found)
        shares = (_percent([getattr(one, name) for one in found]) for name in _SHARES)
        unserved = fmean(one.unserved for one in found)
        loop = "open" if open_loop else "closed"
        yield f"| {exponent:g} | {loop} | {policy} | {hours:.1f} | {' | '.join(shares)} | {unserved:.0f} |"


_SHARES = ("met_all", "met_hot", "met_worst")


def _percent(shares: Sequence[float]) -> str:
    """The mean, and from where to where the seeds are."""
    return f"{fmean(shares):.2%} ({min(shares):.1%} to {max(shares):.1%})"
