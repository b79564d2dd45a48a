"""Usage folded into lines with costs."""

from __future__ import annotations

from decimal import Decimal

from serve_app.store import UsageSum
from serve_app.usage.prices import PriceConfig
from serve_app.usage.statement import dimensions, statement


def price(own: str, public: str | None) -> PriceConfig:
    return PriceConfig.model_validate(
        {
            "input_cny_per_million_tokens": own,
            "output_cny_per_million_tokens": own,
            "public_input_cny_per_million_tokens": public,
            "public_output_cny_per_million_tokens": public,
        }
    )


def cny(*amounts: int) -> list[Decimal]:
    return [Decimal(amount) for amount in amounts]


PRICES = {"cheap": price("1", "3"), "dear": price("5", "3"), "alone": price("7", None)}
MILLION = 1_000_000


def test_model_is_asked_for_where_it_is_not_shown() -> None:
    assert dimensions(("tenant", "day")) == ("tenant", "day", "model")
    assert dimensions(("model", "tenant")) == ("model", "tenant")


def test_models_of_a_line_are_added_each_at_its_price() -> None:
    sums = [
        UsageSum(("research", "cheap"), 2, MILLION, MILLION),
        UsageSum(("research", "dear"), 1, MILLION, 0),
        UsageSum(("sales", "cheap"), 1, 0, MILLION),
    ]
    result = statement(sums, ("tenant",), PRICES)
    research, sales = result.lines["research",], result.lines["sales",]
    assert (research.requests, research.prompt_tokens, research.completion_tokens) == (
        3,
        2 * MILLION,
        MILLION,
    )
    assert [research.cost_cny, research.public_cost_cny, research.saving_cny] == cny(7, 9, 2)
    assert [sales.cost_cny, sales.saving_cny] == cny(1, 2)
    assert result.total.cost_cny == 8
    assert result.total.requests == 4


def test_model_that_is_dearer_here_saves_less_than_nothing() -> None:
    result = statement([UsageSum(("dear",), 1, MILLION, 0)], ("model",), PRICES)
    assert result.total.saving_cny == -2


def test_saving_compares_like_with_like() -> None:
    sums = [UsageSum(("a", "cheap"), 1, MILLION, 0), UsageSum(("a", "alone"), 1, MILLION, 0)]
    line = statement(sums, ("tenant",), PRICES).lines["a",]
    # The model without a public price costs, and would look like a loss beside what it is not compared to.
    assert [line.cost_cny, line.public_cost_cny, line.saving_cny] == cny(8, 3, 2)


def test_model_without_a_price_costs_nothing_and_is_named() -> None:
    result = statement([UsageSum(("new",), 1, 5, 6)], ("model",), PRICES)
    assert (result.total.cost_cny, result.total.public_cost_cny) == (Decimal(0), None)
    assert result.total.unpriced_tokens == 11
    assert (result.models_without_price, result.models_without_public_price) == ({"new"}, {"new"})


def test_no_usage_is_an_empty_statement() -> None:
    result = statement([], ("tenant",), PRICES)
    assert (result.lines, result.total.requests) == ({}, 0)
