"""The waiting formula against exact results, and against a simulation of the queue itself."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.plan.queueing import Queue, erlang_c

ARRIVALS = 400_000
TOO_SHORT, TOO_LONG = 0.88, 1.15
"""The formula over the simulation, for service times up to exponential ones, which plans have by default.

Where they vary more and servers are many it is on the safe side: up to a third too long.
"""


def bounds(scv: float) -> tuple[float, float]:
    return TOO_SHORT, TOO_LONG if scv <= 1 else 1.35


def simulate(queue: Queue, draw: Callable[[random.Random], float]) -> list[float]:
    """Waits of many arrivals at a first-come queue, without the first tenth."""
    rng = random.Random(7)  # noqa: S311  (a simulation)
    free = [0.0] * queue.servers
    now, waits = 0.0, []
    for _ in range(ARRIVALS):
        now += rng.expovariate(queue.rate)
        start = max(now, heapq.heappop(free))
        waits.append(start - now)
        heapq.heappush(free, start + draw(rng))
    return waits[ARRIVALS // 10 :]


def fixed(_: random.Random) -> float:
    return 1.0


def exponential(rng: random.Random) -> float:
    return rng.expovariate(1.0)


def log_normal(rng: random.Random) -> float:
    """Mean 1, scv 2."""
    deviation = math.sqrt(math.log(3))
    return rng.lognormvariate(-(deviation**2) / 2, deviation)


@pytest.mark.parametrize(("scv", "draw"), [(0.0, fixed), (1.0, exponential), (2.0, log_normal)])
@pytest.mark.parametrize(("servers", "utilization"), [(1, 0.6), (1, 0.85), (4, 0.8), (16, 0.8)])
def test_mean_wait_is_that_of_a_simulation(
    servers: int, utilization: float, scv: float, draw: Callable[[random.Random], float]
) -> None:
    queue = Queue(rate=utilization * servers, service_s=1.0, scv=scv, servers=servers)
    waits = simulate(queue, draw)
    low, high = bounds(scv)
    assert low <= queue.mean_wait_s() / (sum(waits) / len(waits)) <= high


@pytest.mark.parametrize(("servers", "utilization"), [(1, 0.8), (4, 0.8), (16, 0.8)])
@pytest.mark.parametrize(("scv", "draw"), [(0.0, fixed), (1.0, exponential), (2.0, log_normal)])
def test_late_waits_are_those_of_a_simulation(
    servers: int, utilization: float, scv: float, draw: Callable[[random.Random], float]
) -> None:
    queue = Queue(rate=utilization * servers, service_s=1.0, scv=scv, servers=servers)
    waits = sorted(simulate(queue, draw))
    measured = waits[int(0.95 * len(waits))]
    low, high = bounds(scv)
    assert low <= queue.wait_quantile_s(0.95) / measured <= high


def test_erlang_c_is_the_textbook_figure() -> None:
    assert erlang_c(1, 0.7) == pytest.approx(0.7)
    # By the definition, sum and factorials.
    offered, servers = 4.5, 6
    last = offered**servers / math.factorial(servers) * servers / (servers - offered)
    exact = last / (sum(offered**k / math.factorial(k) for k in range(servers)) + last)
    assert erlang_c(servers, offered) == pytest.approx(exact)
    assert erlang_c(2, 2.0) == 1.0
    assert erlang_c(2, 0.0) == 0.0


def test_single_server_is_exact() -> None:
    """Pollaczek and Khinchine."""
    queue = Queue(rate=0.8, service_s=1.0, scv=0.5, servers=1)
    assert queue.mean_wait_s() == pytest.approx(0.8 * 1.5 / (2 * 0.2))


def test_overloaded_queue_waits_for_ever() -> None:
    queue = Queue(rate=2.0, service_s=1.0, scv=1.0, servers=2)
    assert math.isinf(queue.mean_wait_s())
    assert math.isinf(queue.wait_quantile_s(0.95))


def test_a_thousand_servers_of_which_half_are_busy_let_nobody_wait() -> None:
    assert Queue(500.0, 1.0, 1.0, 1000).mean_wait_s() == 0.0


@given(
    servers=st.integers(1, 300),
    busy=st.floats(0.01, 0.97),
    more=st.floats(1.0, 1.02),
    scv=st.floats(0, 4),
)
@settings(max_examples=200, deadline=None)
def test_more_load_never_waits_less_and_more_servers_never_longer(
    servers: int, busy: float, more: float, scv: float
) -> None:
    queue = Queue(busy * servers, 1.0, scv, servers)
    loaded = Queue(queue.rate * more, 1.0, scv, servers)
    wider = Queue(queue.rate, 1.0, scv, servers + 1)
    for measure in (Queue.mean_wait_s, lambda one: one.wait_quantile_s(0.95)):
        assert measure(loaded) >= measure(queue) * (1 - 1e-9)
        assert measure(wider) <= measure(queue) * (1 + 1e-9) + 1e-12
