"""What machines cost to buy and to run, against what the public API asks for the same tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cluster.plan import tables
from cluster.plan.requirements import Assumptions, Load
from cluster.plan.subject import Subject
from cluster.plan.tables import Gpu, PublicPrice

_HOURS_PER_MONTH = 365.25 * 24 / 12
_MONTHS_PER_YEAR = 12


@dataclass(frozen=True, slots=True)
class Fleet:
    """Machines with GPUs of one kind.

    Attributes:
        gpu: The GPU.
        machines: How many.
        bought: GPUs in them.
        used: GPUs that hold a replica.
    """

    gpu: Gpu
    machines: int
    bought: int
    used: int


@dataclass(frozen=True, slots=True)
class Bill:
    """Money, CNY.

    Attributes:
        purchase: GPUs and machines.
        power_per_month: Electricity, cooling included.
        upkeep_per_month: Space and hands.
        per_month: All of it, the purchase spread over the years.
        total: Over the years.
    """

    purchase: float
    power_per_month: float
    upkeep_per_month: float
    per_month: float
    total: float


def fleet(gpu: Gpu, slots: int, sizes: Iterable[int]) -> Fleet:
    """The fewest machines for replicas of these sizes, each of which stays on one machine.

    Sizes are powers of two: largest first into the first machine with room is then the best there is
    (E. G. Coffman et al., Bin packing with divisible item sizes, 1987).

    Args:
        gpu: The GPU.
        slots: GPUs that a machine holds.
        sizes: GPUs of each replica.
    """
    count = used = 0
    free: dict[int, int] = {}  # machines by their free slots
    for size in sorted(sizes, reverse=True):
        used += size
        room = min((left for left, machines in free.items() if left >= size and machines), default=None)
        if room is None:
            count, room = count + 1, slots
        else:
            free[room] -= 1
        free[room - size] = free.get(room - size, 0) + 1
    whole = tables.machines()[gpu.host].whole
    return Fleet(gpu, count, count * slots if whole else used, used)


def bill(fleets: Sequence[Fleet], given: Assumptions) -> Bill:
    """What machines cost."""
    rates = given.costs
    purchase = power_w = 0.0
    for one in fleets:
        host = tables.machines()[one.gpu.host]
        assert one.gpu.price_usd is not None
        assert one.gpu.power_w is not None
        purchase += (one.bought * one.gpu.price_usd + one.machines * host.price_usd) * rates.cny_per_usd
        power_w += one.bought * one.gpu.power_w + one.machines * host.power_w
    kilowatts = power_w / 1000 * rates.draw_share * rates.power_overhead
    power = kilowatts * _HOURS_PER_MONTH * rates.electricity_cny_per_kwh
    upkeep = purchase * rates.yearly_upkeep_share / _MONTHS_PER_YEAR
    months = rates.years * _MONTHS_PER_YEAR
    per_month = purchase / months + power + upkeep
    return Bill(purchase, power, upkeep, per_month, per_month * months)


def public_price(subject: Subject) -> PublicPrice | None:
    """What is asked for the model of the public API that this one stands in for; none if nothing is known."""
    billions = subject.architecture.parameters() / 1e9
    rows = [
        row
        for row in tables.public_prices()
        if row.kind is subject.kind and row.from_parameters_b <= billions
    ]
    return max(rows, key=lambda row: row.from_parameters_b, default=None)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A model's tokens on the public API.

    Attributes:
        price: What is asked there.
        million_tokens_per_month: Read and written at the mean load; none where no rate was given.
        cny_per_million: Of its mix of tokens read and written.
        cny_per_month: For that load; none likewise.
    """

    price: PublicPrice
    million_tokens_per_month: float | None
    cny_per_million: float
    cny_per_month: float | None


def mean_tokens(subject: Subject, load: Load) -> int:
    """Tokens of a mean request, those of the answer included where there is one."""
    return load.prompt_tokens + (load.output_tokens if subject.kind.generates else 0)


def monthly_million_tokens(subject: Subject, load: Load, requests_per_second: float) -> float:
    """Tokens read and written in a month at that rate."""
    return requests_per_second * mean_tokens(subject, load) * _HOURS_PER_MONTH * 3600 / 1e6


def compare(subject: Subject, load: Load, given: Assumptions) -> Comparison | None:
    """What a load would cost on the public API."""
    price = public_price(subject)
    if price is None:
        return None
    tokens = mean_tokens(subject, load)
    output = tokens - load.prompt_tokens
    blended = (load.prompt_tokens * price.input_cny + output * price.output_cny) / tokens
    if load.requests_per_second is None:
        return Comparison(price, None, blended, None)
    monthly = monthly_million_tokens(subject, load, load.requests_per_second * given.costs.busy_share)
    return Comparison(price, monthly, blended, monthly * blended)


def break_even_million_tokens(per_month: float, comparisons: Sequence[Comparison]) -> float | None:
    """Millions of tokens a month from which own machines cost less than the public API.

    At the mix of models that the loads have; with no rates, at the mean of their prices. None where nothing
    can be compared.
    """
    volumes = [one.million_tokens_per_month for one in comparisons]
    if not comparisons:
        return None
    weights = [volume or 0.0 for volume in volumes] if all(volumes) else [1.0] * len(comparisons)
    blended = sum(w * one.cny_per_million for w, one in zip(weights, comparisons, strict=True)) / sum(weights)
    return per_month / blended if blended > 0 else math.inf
