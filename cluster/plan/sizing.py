"""How many replicas a load takes, and what its users then get."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from cluster.plan.placement import Placement
from cluster.plan.queueing import Queue
from cluster.plan.requirements import Load, Objective
from cluster.plan.roofline import Efficiency, Roofline, roofline

_MAX_REPLICAS = 100_000
_HALVINGS = 60


@dataclass(frozen=True, slots=True)
class Service:
    """What replicas of a model give under a load.

    Attributes:
        utilization: Load over what the replicas can carry.
        batch: Requests that run on a replica, being read or being answered, mean.
        first_token_s: Mean time to the first token.
        first_token_quantile_s: The same for the objective's share of requests.
        tokens_per_second: Of one stream after its first token, mean; 0 for models that write nothing.
    """

    utilization: float
    batch: float
    first_token_s: float
    first_token_quantile_s: float
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class Sizing:
    """A placement, so many times.

    Attributes:
        placement: Each replica's.
        load: What it is sized for.
        replicas: How many.
        slots: Requests that run on one replica at the same time: of the longest kind where the load counts
            them, of its mean size where it is a rate.
        single_tokens_per_second: Of a stream that has a replica to itself; none if the speed is not known.
        prefill_tokens_per_second: Of a replica that only reads prompts; none likewise.
        capacity_per_s: Requests of the mean size that one replica carries; none likewise.
        service: What users get; none likewise.
    """

    placement: Placement
    load: Load
    replicas: int
    slots: int
    single_tokens_per_second: float | None
    prefill_tokens_per_second: float | None
    capacity_per_s: float | None
    service: Service | None

    @property
    def gpus(self) -> int:
        """GPUs of all replicas."""
        return self.replicas * self.placement.size


def size(placement: Placement, load: Load, objective: Objective, efficiency: Efficiency) -> Sizing | str:
    """The fewest replicas that carry a load; or why none do, in one line."""
    room = placement.slots(placement.context_tokens)
    replicas = math.ceil((load.concurrent or 1) / room)
    if load.requests_per_second is None:
        running = math.ceil((load.concurrent or 1) / replicas)
        return together(placement, load, replicas, running, objective, efficiency)
    if not placement.gpu.has_speed:
        return f"nothing is known of the speed of {placement.gpu.name}; ask for --concurrent instead"
    engine = _Engine.of(placement, load, efficiency)
    carrying = _replicas(engine, load.requests_per_second, objective)
    if isinstance(carrying, str):
        return carrying
    replicas = max(replicas, carrying)
    service = engine.service(load.requests_per_second, replicas, objective.quantile)
    return Sizing(placement, load, replicas, engine.slots, *engine.speeds, service)


def together(  # noqa: PLR0913, PLR0917  (a model, what runs, and two assumptions)
    placement: Placement,
    load: Load,
    replicas: int,
    running: int,
    objective: Objective,
    efficiency: Efficiency,
) -> Sizing:
    """So many replicas, on each of which so many requests run; no arrivals, no queue.

    They are of the longest kind where the load counts them, else of its mean size.
    """
    room = placement.slots(placement.context_tokens)
    if not placement.gpu.has_speed:
        return Sizing(placement, load, replicas, room, None, None, None, None)
    engine = _Engine.of(placement, load, efficiency)
    if load.concurrent is None:
        room = engine.slots
    service = engine.together(running, max(1, room), objective.quantile)
    return Sizing(placement, load, replicas, room, *engine.speeds, service)


def _replicas(engine: _Engine, rate: float, objective: Objective) -> int | str:
    """The fewest that meet the objective; the more replicas, the better each measure is."""
    if engine.slots < 1:
        return "its KV cache holds not one request of the mean length"
    alone = engine.service(1e-9, 1, objective.quantile)
    missed = _missed(alone, objective)
    if missed:
        return f"even without other requests {missed}"
    lower = max(1, math.ceil(rate / (engine.capacity_per_s * objective.max_utilization)))
    upper = lower
    while _missed(engine.service(rate, upper, objective.quantile), objective):
        lower, upper = upper + 1, upper * 2
        if upper > _MAX_REPLICAS:
            return f"not even {_MAX_REPLICAS:,} replicas meet the objective"
    while lower < upper:
        middle = (lower + upper) // 2
        if _missed(engine.service(rate, middle, objective.quantile), objective):
            lower = middle + 1
        else:
            upper = middle
    return lower


def _missed(service: Service, objective: Objective) -> str | None:
    if service.utilization > objective.max_utilization:
        return f"it would be {service.utilization:.0%} busy"
    wanted = objective.first_token_s
    if wanted is not None and service.first_token_quantile_s > wanted:
        return f"the first token takes {service.first_token_quantile_s:.2f} s, not {wanted:g}"
    speed = objective.tokens_per_second
    if speed is not None and 0 < service.tokens_per_second < speed:
        return f"a stream has {service.tokens_per_second:.1f} tokens/s, not {speed:g}"
    return None


@dataclass(frozen=True, slots=True)
class _Engine:
    """A replica at work on requests of one mean size.

    Attributes:
        roofline: Its speed.
        slots: Requests that run at the same time.
        prompt: Mean prompt, tokens.
        output: Mean answer, tokens; 0 for models that write nothing.
        variation: Standard deviation over mean, of both.
    """

    roofline: Roofline
    slots: int
    prompt: int
    output: int
    variation: float

    @classmethod
    def of(cls, placement: Placement, load: Load, efficiency: Efficiency) -> _Engine:
        speeds = roofline(
            placement.form.architecture,
            placement.shape,
            placement.memory,
            placement.gpu,
            efficiency,
            flops_of=placement.subject.architecture,
        )
        output = load.output_tokens if placement.subject.kind.generates else 0
        prompt = min(load.prompt_tokens, max(1, placement.context_tokens - output))
        return cls(speeds, placement.slots(prompt + output), prompt, output, load.variation)

    @property
    def context(self) -> float:
        """Mean context of a running request."""
        return self.prompt + self.output / 2

    @property
    def speeds(self) -> tuple[float, float, float]:
        """Tokens per second of a stream alone, of reading prompts alone, and requests that it carries."""
        alone = 1 / self.roofline.decode_step_s(1, self.context) if self.output else 0.0
        return alone, self.prompt / self.roofline.prefill_s(self.prompt), self.capacity_per_s

    @property
    def capacity_per_s(self) -> float:
        """Requests per second with all slots taken: each costs its prefill and its share of the steps."""
        slots = max(1, self.slots)
        full = self.roofline.decode_step_s(slots, self.context)
        return 1 / (self.roofline.prefill_s(self.prompt) + self.output * full / slots)

    def service(self, rate: float, replicas: int, quantile: float) -> Service:
        """What users get of so many replicas, requests arriving at random and going where there is room."""
        each = rate / replicas
        utilization = each / self.capacity_per_s
        if utilization >= 1:
            return Service(utilization, self.slots, math.inf, math.inf, 0.0)
        idle_share = 1 - each * self.roofline.prefill_s(self.prompt)
        batch = self._batch(each, idle_share)
        gap = self.roofline.decode_step_s(batch, self.context) / idle_share
        reading = self.roofline.busy_prefill_s(self.prompt, batch, self.context)
        scv = self.variation**2
        residence = reading + self.output * gap
        spread = scv * (reading**2 + (self.output * gap) ** 2) / residence**2
        # First for one of the slots, then for the engine to read the prompts that came before.
        for_slot = Queue(rate, residence, spread, self.slots * replicas)
        for_engine = Queue(rate, min(reading, 0.999 * replicas / rate), scv, replicas)
        mean = reading + for_slot.mean_wait_s() + for_engine.mean_wait_s()
        excesses = (
            self._long_prompts(reading, quantile),
            *(one.wait_quantile_s(quantile) - one.mean_wait_s() for one in (for_slot, for_engine)),
        )
        return Service(
            utilization=utilization,
            batch=each * residence,
            first_token_s=mean,
            # Each is above its mean by so much; independent of each other, they add by their squares.
            first_token_quantile_s=mean + math.hypot(*(max(0.0, one) for one in excesses)),
            tokens_per_second=1 / gap if self.output else 0.0,
        )

    def together(self, batch: int, room: int, quantile: float) -> Service:
        """What users get of a replica that runs ``batch`` requests, of the ``room`` that it has."""
        reading = self.roofline.prefill_s(self.prompt)
        late = reading + self._long_prompts(reading, quantile)
        step = self.roofline.decode_step_s(batch, self.context)
        return Service(batch / room, batch, reading, late, 1 / step if self.output else 0.0)

    def _long_prompts(self, reading: float, quantile: float) -> float:
        """What reading takes above its mean for this share of prompts, whose lengths are log-normal."""
        log_variance = math.log1p(self.variation**2)
        deviation = NormalDist().inv_cdf(quantile) * math.sqrt(log_variance)
        return reading * max(0.0, math.exp(deviation - log_variance / 2) - 1)

    def _batch(self, rate: float, idle_share: float) -> float:
        """Requests that run on a replica: arrivals times the time that each stays (Little).

        A step takes the longer the more requests it serves, so the number that keeps itself is looked for. A
        step's time is convex in it, and at full slots fewer arrive than leave: there is exactly one.
        """
        low, high = 0.0, float(self.slots)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            stay = self.output * self.roofline.decode_step_s(middle, self.context) / idle_share
            low, high = (middle, high) if rate * stay > middle else (low, middle)
        return high
