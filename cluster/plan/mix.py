"""The cheapest machines for several models: for each the GPU and the split, together the fewest machines.

Branch and bound over all choices: exact, unless the choices are so many that the search is cut short.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cluster.plan import tables
from cluster.plan.cost import Bill, Fleet, bill, fleet
from cluster.plan.requirements import Assumptions
from cluster.plan.sizing import Sizing
from cluster.plan.tables import Gpu

_MAX_STEPS = 50_000


@dataclass(frozen=True, slots=True)
class Mix:
    """What to buy.

    Attributes:
        choices: Of each model, in the order given.
        fleets: The machines, by GPU.
        bill: What they cost; none where a price is not known.
        exact: False if the search was cut short: there may be something cheaper.
    """

    choices: tuple[Sizing, ...]
    fleets: tuple[Fleet, ...]
    bill: Bill | None
    exact: bool = True


def fleets_of(choices: Sequence[Sizing], given: Assumptions) -> tuple[Fleet, ...]:
    """The machines that these choices take."""
    by_gpu: dict[str, tuple[Gpu, list[int]]] = {}
    for one in choices:
        _, sizes = by_gpu.setdefault(one.placement.gpu.name, (one.placement.gpu, []))
        sizes += [one.placement.size] * one.replicas
    return tuple(fleet(gpu, given.slots(gpu), sizes) for gpu, sizes in by_gpu.values())


def cheapest(options: Sequence[Sequence[Sizing]], given: Assumptions) -> Mix:
    """The choices that cost least over the years.

    Args:
        options: Of each model, one at least; all with known prices.
        given: Prices and machines.
    """
    search = _Search([_undominated(one) for one in options], given)
    choices = search.run()
    machines = fleets_of(choices, given)
    return Mix(choices, machines, bill(machines, given), search.steps <= _MAX_STEPS)


def fewest(options: Sequence[Sequence[Sizing]], given: Assumptions) -> Mix:
    """The choices that take the fewest GPUs, where prices are not known."""
    choices = tuple(min(one, key=lambda option: (option.gpus, option.placement.size)) for one in options)
    return Mix(choices, fleets_of(choices, given), None)


def _undominated(options: Sequence[Sizing]) -> list[Sizing]:
    """Without those for which another on the same GPU takes no more GPUs, in no larger pieces."""
    kept: list[Sizing] = []
    for one in sorted(options, key=lambda option: (option.gpus, option.placement.size)):
        if not any(
            other.placement.gpu.name == one.placement.gpu.name and other.placement.size <= one.placement.size
            for other in kept
        ):
            kept.append(one)
    return kept


class _Search:
    """Depth first, the dearest model first, its cheapest option first."""

    def __init__(self, options: Sequence[Sequence[Sizing]], given: Assumptions) -> None:
        self._given = given
        self._least = {id(one): self._least_cost(one) for choices in options for one in choices}
        self._options = [sorted(choices, key=lambda one: self._least[id(one)]) for choices in options]
        self._order = sorted(
            range(len(options)), key=lambda index: self._least[id(self._options[index][0])], reverse=True
        )
        self._best: tuple[Sizing, ...] = ()
        self._best_cost = float("inf")
        self.steps = 0

    def run(self) -> tuple[Sizing, ...]:
        for choices in self._starts():
            self._offer(choices)
        self._descend({}, 0.0)
        return self._best

    def _starts(self) -> Iterator[tuple[Sizing, ...]]:
        """Good ones to begin with: each model's cheapest, and all on one kind of GPU."""
        yield tuple(choices[0] for choices in self._options)
        for name in tables.gpus():
            on_it = [[one for one in choices if one.placement.gpu.name == name] for choices in self._options]
            if all(on_it):
                yield tuple(choices[0] for choices in on_it)

    def _descend(self, chosen: dict[int, Sizing], least: float) -> None:
        self.steps += 1
        if self.steps > _MAX_STEPS:
            return
        left = self._order[len(chosen) :]
        if not left:
            self._offer(tuple(chosen[index] for index in range(len(self._options))))
            return
        rest = sum(self._least[id(self._options[index][0])] for index in left[1:])
        for one in self._options[left[0]]:
            bound = least + self._least[id(one)]
            if bound + rest >= self._best_cost:
                break  # those that follow cost more
            chosen[left[0]] = one
            if self._cost(tuple(chosen.values())) < self._best_cost:
                self._descend(chosen, bound)
            del chosen[left[0]]

    def _offer(self, choices: tuple[Sizing, ...]) -> None:
        cost = self._cost(choices)
        if cost < self._best_cost:
            self._best, self._best_cost = choices, cost

    def _cost(self, choices: Sequence[Sizing]) -> float:
        return bill(fleets_of(choices, self._given), self._given).total

    def _least_cost(self, one: Sizing) -> float:
        """What an option costs at least: its GPUs, and its share of machines that others fill up."""
        gpu, slots = one.placement.gpu, self._given.slots(one.placement.gpu)
        machine = bill([Fleet(gpu, 1, slots, slots)], self._given).total
        return machine / slots * one.gpus
