"""Made-up traffic: sessions of people over a day, bursts, a stampede. Deterministic by seed."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate

from deployments.fleet.replay.scenario import Scenario, SimulatedModel
from deployments.fleet.replay.trace import Request, Trace, zipf_weights

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is asked in a day.

    Attributes:
        requests: About so many.
        exponent: Of Zipf's law over the models, by sessions.
        session_requests: Mean requests of a session (geometric): a person, or a program, at work.
        think_median_s: Median pause from request to request in a session (log-normal, sigma 1).
        trough: The night's share of the peak's traffic.
        prompt_median: Tokens (log-normal, sigma 1). Azure's conversation trace of 2023 has about 1,000.
        output_median: Tokens (log-normal, sigma 0.9). Azure's has about 130.
        open_loop: Requests of a session come at fixed times, whether or not the last one was answered. By
            default each waits for the answer to the one before, as people and agents do.
        duration_s: Length of the trace.
        seed: The same gives the same trace.
    """

    requests: int = 20_000
    exponent: float = 2.0
    session_requests: float = 8
    think_median_s: float = 20
    trough: float = 0.05
    prompt_median: float = 1000
    output_median: float = 130
    open_loop: bool = False
    duration_s: float = _DAY_S
    seed: int = 1


def _office_day(hour: float, trough: float) -> float:
    """Share of the peak: from 7 to 21 o'clock one hump, otherwise the trough."""
    hump = max(0.0, math.sin(math.pi * (hour - 7) / 14))
    return trough + (1 - trough) * math.pow(hump, 1.5)


def zipf(scenario: Scenario, traffic: Traffic) -> Trace:
    """A day of an office: sessions with a daily shape, models by Zipf's law."""
    return _trace(scenario, traffic, lambda at: _office_day(at / 3600 % 24, traffic.trough))


def diurnal(scenario: Scenario, traffic: Traffic) -> Trace:
    """The same daily shape, all models equally popular: the hard case for sharing."""
    return zipf(scenario, replace(traffic, exponent=0.0))


def bursty(scenario: Scenario, traffic: Traffic) -> Trace:
    """No daily shape; ten minutes of each hour have eight times the traffic of the rest."""
    return _trace(scenario, traffic, lambda at: 1.0 if at % 3600 < 600 else 0.125)


def stampede(scenario: Scenario, traffic: Traffic) -> Trace:
    """The Zipf day, and at 14 o'clock 200 requests within ten seconds to the largest model, cold or not."""
    requests = zipf(scenario, traffic)
    rng = random.Random(traffic.seed + 1)  # noqa: S311
    largest = max(scenario.models, key=lambda one: one.fleet.gpus)
    rush = [_request(rng, 14 * 3600 + rng.uniform(0, 10), largest, traffic) for _ in range(200)]
    return sorted([*requests, *rush], key=lambda request: request.at)


GENERATORS: Mapping[str, Callable[[Scenario, Traffic], Trace]] = {
    "zipf": zipf,
    "diurnal": diurnal,
    "bursty": bursty,
    "stampede": stampede,
}
"""By name."""


def _trace(scenario: Scenario, traffic: Traffic, shape: Callable[[float], float]) -> Trace:
    rng = random.Random(traffic.seed)  # noqa: S311
    cumulative = list(accumulate(zipf_weights(len(scenario.models), traffic.exponent)))
    requests: list[Request] = []
    for start in _starts(rng, traffic, shape):
        model = rng.choices(scenario.models, cum_weights=cumulative)[0]
        requests += _session(rng, start, model, traffic)
    return sorted(requests, key=lambda request: request.at)


def _starts(rng: random.Random, traffic: Traffic, shape: Callable[[float], float]) -> Iterator[float]:
    """Starts of sessions: a Poisson process thinned to the shape, whose maximum is 1."""
    mean = sum(shape(traffic.duration_s * i / 1000) for i in range(1000)) / 1000
    peak_per_s = traffic.requests / traffic.session_requests / traffic.duration_s / mean
    at = rng.expovariate(peak_per_s)
    while at < traffic.duration_s:
        if rng.random() < shape(at):
            yield at
        at += rng.expovariate(peak_per_s)


def _session(rng: random.Random, at: float, model: SimulatedModel, traffic: Traffic) -> Iterator[Request]:
    """Its first request, which the others follow; in an open loop, all of them, at fixed times."""
    previous = _request(rng, at, model, traffic)
    yield previous
    while rng.random() >= 1 / traffic.session_requests:
        pause_s = rng.lognormvariate(math.log(traffic.think_median_s), 1.0)
        at += pause_s
        following = _request(rng, at, model, traffic)
        if not traffic.open_loop:
            following.pause_s = pause_s
            previous.then, previous = following, following
        elif at < traffic.duration_s:
            yield following


def _request(rng: random.Random, at: float, model: SimulatedModel, traffic: Traffic) -> Request:
    prompt = min(8192, 1 + int(rng.lognormvariate(math.log(traffic.prompt_median), 1.0)))
    output = min(2048, 1 + int(rng.lognormvariate(math.log(traffic.output_median), 0.9)))
    return Request(at, model.fleet.id, prompt, output if model.kind.generates else 1)
