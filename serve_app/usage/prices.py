"""What tokens cost: the part ``prices`` of the configuration."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Self

from pydantic import Field, model_validator

from deployments.config import FrozenConfig

Price = Annotated[Decimal, Field(ge=0, le=10**6, allow_inf_nan=False, decimal_places=6)]


class PriceConfig(FrozenConfig):
    """What a model's tokens cost here, and what they would cost on the public API."""

    input_cny_per_million_tokens: Price = Field(
        ..., description="Price of tokens in, CNY per million tokens."
    )
    output_cny_per_million_tokens: Price = Field(
        ..., description="Price of tokens out, CNY per million tokens."
    )
    public_input_cny_per_million_tokens: Price | None = Field(
        None,
        description="The public API's price of tokens in, CNY per million tokens; default: not compared.",
    )
    public_output_cny_per_million_tokens: Price | None = Field(
        None,
        description="The public API's price of tokens out, CNY per million tokens; default: not compared.",
    )

    @model_validator(mode="after")
    def _public_price_is_whole(self) -> Self:
        if (self.public_input_cny_per_million_tokens is None) != (
            self.public_output_cny_per_million_tokens is None
        ):
            raise ValueError(
                "set both public_input_cny_per_million_tokens and public_output_cny_per_million_tokens, "
                "or neither"
            )
        return self

    def cny(self, prompt_tokens: int, completion_tokens: int) -> Decimal:
        """What so many tokens cost here, CNY, exactly."""
        return _cny(
            prompt_tokens,
            self.input_cny_per_million_tokens,
            completion_tokens,
            self.output_cny_per_million_tokens,
        )

    def public_cny(self, prompt_tokens: int, completion_tokens: int) -> Decimal | None:
        """What they would cost on the public API, CNY, exactly; none where its price is not known."""
        price_in = self.public_input_cny_per_million_tokens
        price_out = self.public_output_cny_per_million_tokens
        if price_in is None or price_out is None:
            return None
        return _cny(prompt_tokens, price_in, completion_tokens, price_out)


def _cny(tokens_in: int, price_in: Decimal, tokens_out: int, price_out: Decimal) -> Decimal:
    return (tokens_in * price_in + tokens_out * price_out).scaleb(-6)
