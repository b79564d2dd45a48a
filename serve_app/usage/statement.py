"""Usage as a statement: added up by what was asked for, with what it costs and what it saves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from serve_app.store import UsageSum
from serve_app.usage.prices import PriceConfig

if TYPE_CHECKING:
    from serve_app.store.usage import Dimension


@dataclass(slots=True)
class Line:
    """Usage and its cost. Money is in CNY and exact; whoever shows it rounds.

    Attributes:
        requests: How many.
        prompt_tokens: Tokens in.
        completion_tokens: Tokens out.
        cost_cny: What they cost here.
        public_cost_cny: What the tokens of models with a public price would cost there; none: there is no
            such model.
        saving_cny: By how much those same tokens are cheaper here; less than 0 if they are not.
        unpriced_tokens: Tokens of models without a price, which cost nothing.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_cny: Decimal = Decimal(0)
    public_cost_cny: Decimal | None = None
    saving_cny: Decimal | None = None
    unpriced_tokens: int = 0

    def add(self, usage: UsageSum, price: PriceConfig | None) -> None:
        """Count the usage of one model."""
        tokens = usage.prompt_tokens, usage.completion_tokens
        self.requests += usage.requests
        self.prompt_tokens += usage.prompt_tokens
        self.completion_tokens += usage.completion_tokens
        if price is None:
            self.unpriced_tokens += sum(tokens)
            return
        cost, public = price.cny(*tokens), price.public_cny(*tokens)
        self.cost_cny += cost
        if public is not None:
            self.public_cost_cny = (self.public_cost_cny or Decimal(0)) + public
            self.saving_cny = (self.saving_cny or Decimal(0)) + public - cost


@dataclass(slots=True)
class Statement:
    """What was used, line by line.

    Attributes:
        lines: By group, in the order of the question; one for each group that used anything.
        total: All lines together.
        models_without_price: Models used that cost nothing, for want of a price.
        models_without_public_price: Models used that nothing was compared for.
    """

    lines: dict[tuple[str | int, ...], Line] = field(default_factory=dict)
    total: Line = field(default_factory=Line)
    models_without_price: set[str] = field(default_factory=set)
    models_without_public_price: set[str] = field(default_factory=set)


def dimensions(by: Sequence[Dimension]) -> tuple[Dimension, ...]:
    """What usage has to be told apart by to know its cost: the model too, since each has its price."""
    return tuple(by) if "model" in by else (*by, "model")


def statement(
    sums: Iterable[UsageSum], by: Sequence[Dimension], prices: Mapping[str, PriceConfig]
) -> Statement:
    """The statement of usage.

    Args:
        sums: Told apart by ``dimensions(by)``.
        by: What the lines are told apart by.
        prices: By model id; a model that is not here costs nothing.
    """
    result = Statement()
    model_at = dimensions(by).index("model")
    for usage in sums:
        model = str(usage.group[model_at])
        price = prices.get(model)
        if price is None:
            result.models_without_price.add(model)
        if price is None or price.public_input_cny_per_million_tokens is None:
            result.models_without_public_price.add(model)
        result.lines.setdefault(usage.group[: len(by)], Line()).add(usage, price)
        result.total.add(usage, price)
    return result
