"""How long requests wait for one of several servers: M/G/c.

Poisson arrivals, any service time, c servers, one queue. No exact formula is known; the mean is Erlang's for
exponential service, times (1 + scv)/2 (A. O. Allen, Probability, Statistics and Queueing Theory, 1990: the
Allen-Cunneen approximation), which is exact for M/M/c and M/G/1. Those who wait at all are taken to wait
exponentially long. Both are compared with a simulation in ``tests/unit/cluster/plan/test_queueing.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_NEVER = 1e-12
_QUIET = 6.0
"""Of (1 - utilization) x sqrt(servers); beyond, fewer than 1e-9 wait (Halfin and Whitt, 1981)."""


def erlang_c(servers: int, offered: float) -> float:
    """The share of requests that find all servers busy, for exponential service.

    Args:
        servers: How many.
        offered: Arrival rate x mean service time; 1 from ``servers`` on.
    """
    if offered >= servers:
        return 1.0
    if offered <= 0 or (1 - offered / servers) * math.sqrt(servers) > _QUIET:
        return 0.0
    inverse = 1.0  # of Erlang's B, by its recursion
    for count in range(1, servers + 1):
        inverse = 1 + inverse * count / offered
        if inverse * _NEVER > 1 and count > offered:
            return 0.0
    blocked = 1 / inverse
    return blocked / (1 - offered / servers * (1 - blocked))


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue before ``servers``.

    Attributes:
        rate: Requests per second.
        service_s: Mean service time.
        scv: Variance of the service time over its squared mean: 0 for fixed, 1 for exponential times.
        servers: How many.
    """

    rate: float
    service_s: float
    scv: float
    servers: int

    @property
    def utilization(self) -> float:
        """Share of the servers that is busy; 1 or more: the queue grows without end."""
        return self.rate * self.service_s / self.servers

    @property
    def waiting_share(self) -> float:
        """Requests that wait at all."""
        return erlang_c(self.servers, self.rate * self.service_s)

    def mean_wait_s(self) -> float:
        """Mean time before service; infinite where the queue grows without end."""
        if self.utilization >= 1:
            return math.inf
        if self.rate <= 0 or self.service_s <= 0:
            return 0.0
        exponential = self.waiting_share * self.service_s / (self.servers * (1 - self.utilization))
        return exponential * (1 + self.scv) / 2

    def wait_quantile_s(self, quantile: float) -> float:
        """What this share of requests waits at most."""
        mean = self.mean_wait_s()
        waiting = self.waiting_share
        if not math.isfinite(mean) or waiting <= 1 - quantile:
            return mean if math.isinf(mean) else 0.0
        return mean / waiting * math.log(waiting / (1 - quantile))
