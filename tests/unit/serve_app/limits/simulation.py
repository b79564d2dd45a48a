"""A small cluster in virtual time: replicas with clients, a network that delays and loses, one ledger."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from serve_app.limits.bucket import Scope
from serve_app.limits.config import EstimateConfig, LedgerConfig, LimitRule
from serve_app.limits.embedded import BucketStore, EmbeddedLedger
from serve_app.limits.estimate import Estimator
from serve_app.limits.leases import Leases
from serve_app.limits.ledger import Batch, Grant, Ledger, LedgerUnavailable
from serve_app.limits.limiter import Limiter
from serve_app.limits.refusal import LedgerAway, LimitExceeded
from serve_app.limits.reservation import Reservation
from serve_app.limits.rules import Caller, RuleSet

EPOCH_S = 1_795_478_100.0
"""When the simulations begin, by the ledger's clock: 2026-11-23T23:55:00Z."""
CALLER = Caller(user="alice", tenant="lab")
MODEL = "qwen"


def seeded(seed: int | str) -> random.Random:
    """Chance that is the same each time."""
    return random.Random(seed)  # noqa: S311


def rules(**limits: int) -> RuleSet:
    """Limits of the tenant that all simulated clients belong to."""
    return RuleSet([LimitRule.model_validate({"scope": Scope.TENANT, **limits})])


def loop_clock(rate: float = 1.0, ahead_s: float = 0.0) -> Callable[[], float]:
    """The running loop's time, on a clock that may be ahead and may be fast."""
    loop = asyncio.get_running_loop()
    return lambda: ahead_s + loop.time() * rate


def ledger(store: BucketStore | None = None) -> EmbeddedLedger:
    """A ledger on the loop's time."""
    return EmbeddedLedger(ZoneInfo("UTC"), store, clock=loop_clock(ahead_s=EPOCH_S))


@dataclass
class Network:
    """Between a replica and the ledger.

    Attributes:
        ledger: Which may be replaced, as after a restart.
        rng: Draws delays and losses.
        delay_s: Mean of one way.
        loss: Share of messages lost, on each way.
        up: Whether anything gets through.
        batches: How many reached the ledger.
    """

    ledger: Ledger
    rng: random.Random
    delay_s: float = 0.002
    loss: float = 0.0
    up: bool = True
    batches: int = 0

    async def sync(self, batch: Batch) -> tuple[Grant, ...]:
        """Carry a batch there and its grants back, perhaps."""
        await self._way()
        self.batches += 1
        grants = await self.ledger.sync(batch)
        await self._way()
        return grants

    async def _way(self) -> None:
        await asyncio.sleep(self.rng.expovariate(1 / self.delay_s))
        if not self.up or self.rng.random() < self.loss:
            raise LedgerUnavailable("lost on the way")


@dataclass
class Accepted:
    """One request that went ahead: when, and how much it used in the end."""

    at_s: float
    replica: str
    tokens: int


@dataclass
class Trace:
    """What a cluster accepted."""

    accepted: list[Accepted] = field(default_factory=list)
    refused: int = 0

    def total(self, start_s: float = 0, end_s: float = float("inf")) -> int:
        """Tokens accepted in a stretch of time."""
        return sum(each.tokens for each in self.accepted if start_s <= each.at_s < end_s)

    def peak(self, window_s: float = 60.0) -> int:
        """The most tokens accepted in any window, wherever it begins; both its ends count."""
        order = sorted(self.accepted, key=lambda each: each.at_s)
        peak = tokens = first = 0
        for each in order:
            tokens += each.tokens
            while order[first].at_s < each.at_s - window_s:
                tokens -= order[first].tokens
                first += 1
            peak = max(peak, tokens)
        return peak


class Replica:
    """One ingress replica with its clients."""

    def __init__(
        self,
        name: str,
        network: Network,
        rule_set: RuleSet,
        trace: Trace,
        *,
        config: LedgerConfig | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.name = name
        self.trace = trace
        self.in_hand = 0
        self.rng = seeded(name)
        clock = clock or loop_clock()
        self.leases = Leases(network, config or LedgerConfig(), clock, name)
        self.limiter = Limiter(rule_set, self.leases, Estimator(EstimateConfig()), clock)
        self.used_shares: tuple[float, ...] = (1, 1, 0.5, 0)
        self._tasks: list[asyncio.Task[None]] = []
        self.leases.start()

    def serve(self, clients: int, *, tokens: tuple[int, int] = (50, 900), hold_s: float = 1.0) -> None:
        """Let clients send one request after the other, each of so many tokens, for so long on average."""
        self._tasks += [asyncio.create_task(self._client(tokens, hold_s)) for _ in range(clients)]

    async def stop(self) -> None:
        """End in order."""
        await self._end_clients()
        await self.leases.close()

    async def kill(self) -> None:
        """End without a word to the ledger."""
        await self._end_clients()
        pump = self.leases._pump
        assert pump is not None
        pump.cancel()

    async def _end_clients(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _client(self, tokens: tuple[int, int], hold_s: float) -> None:
        while True:
            bound = self.rng.randint(*tokens)
            try:
                reservation = await self.limiter.reserve(CALLER, MODEL, bound, 0)
            except (LimitExceeded, LedgerAway):
                self.trace.refused += 1
                await asyncio.sleep(self.rng.uniform(0.1, 1.0))
                continue
            await self._use(reservation, bound, hold_s)

    async def _use(self, reservation: Reservation, bound: int, hold_s: float) -> None:
        """Take a while, then settle for all of it, for a part, or for nothing."""
        used = int(bound * self.rng.choice(self.used_shares))
        accepted = Accepted(asyncio.get_running_loop().time(), self.name, used)
        self.trace.accepted.append(accepted)
        self.in_hand += 1
        try:
            await asyncio.sleep(self.rng.expovariate(1 / hold_s))
        finally:
            self.in_hand -= 1
            if used:
                reservation.settle(used, 0)
            else:
                reservation.refund()
