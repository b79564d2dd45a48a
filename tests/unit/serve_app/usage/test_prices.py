"""Prices of the configuration."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.usage.prices import PriceConfig

OWN = {"input_cny_per_million_tokens": 0.1, "output_cny_per_million_tokens": "0.2"}


def test_cost_is_exact() -> None:
    price = PriceConfig.model_validate(OWN)
    # As floats 0.1 + 0.2 would not be 0.3.
    assert price.cny(1_000_000, 1_000_000) == Decimal("0.3")
    assert price.cny(1, 0) == Decimal("0.0000001")
    assert price.public_cny(1, 1) is None


def test_public_cost_is_by_the_public_price() -> None:
    price = PriceConfig.model_validate(
        {**OWN, "public_input_cny_per_million_tokens": 2, "public_output_cny_per_million_tokens": 0}
    )
    assert price.public_cny(500_000, 10**9) == 1


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"input_cny_per_million_tokens": -1}, "input_cny_per_million_tokens"),
        ({"input_cny_per_million_tokens": float("nan")}, "input_cny_per_million_tokens"),
        ({"input_cny_per_million_tokens": "1e9"}, "input_cny_per_million_tokens"),
        ({"public_input_cny_per_million_tokens": 1}, "public_output_cny_per_million_tokens"),
        ({"input": 1}, "the keys are|did you mean"),
    ],
)
def test_price_that_is_wrong_names_its_field(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(ValidationError, match=where):
        PriceConfig.model_validate({**OWN, **fields})
