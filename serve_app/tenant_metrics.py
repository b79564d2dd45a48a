"""What tenants use and what it costs, as metrics. Bills are made from the usage table instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ray.serve.metrics import Counter

from serve_app.observation import Observation
from serve_app.usage.prices import PriceConfig

MAX_TENANTS: Final = 200
"""They are named by whoever issues keys and tokens, so they are few; this bounds the series all the same."""
OTHERS: Final = "other"


class TenantMetrics:
    """Tokens and their price by tenant and model; users are never a label.

    Args:
        prices: By model; may change.
    """

    def __init__(self, prices: Mapping[str, PriceConfig]) -> None:
        self._prices = prices
        self._known: set[str] = set()
        labels = ("tenant", "model")
        self._requests = Counter(
            "qwen_serve_tenant_requests", description="Requests to a model that have ended.", tag_keys=labels
        )
        self._tokens = Counter(
            "qwen_serve_tenant_tokens", description="Tokens, in and out.", tag_keys=(*labels, "direction")
        )
        self._cost = Counter(
            "qwen_serve_tenant_cost_cny",
            description="What they cost by the price list, CNY.",
            tag_keys=labels,
        )
        self._public_cost = Counter(
            "qwen_serve_tenant_public_cost_cny",
            description="What they would have cost on the public API, CNY.",
            tag_keys=labels,
        )

    def record(self, seen: Observation) -> None:
        """Count a request that has ended, if a tenant had it go to a model."""
        if seen.principal is None or not seen.model:
            return
        labels = {"tenant": self._label(seen.principal.tenant), "model": seen.model}
        tokens_in, tokens_out = seen.usage.prompt_tokens, seen.usage.completion_tokens
        self._requests.inc(1, tags=labels)
        # Ray's counters refuse an increment of zero.
        if tokens_in:
            self._tokens.inc(tokens_in, tags={**labels, "direction": "in"})
        if tokens_out:
            self._tokens.inc(tokens_out, tags={**labels, "direction": "out"})
        price = self._prices.get(seen.model)
        if price is None:
            return
        if cost := float(price.cny(tokens_in, tokens_out)):
            self._cost.inc(cost, tags=labels)
        if public_cost := float(price.public_cny(tokens_in, tokens_out) or 0):
            self._public_cost.inc(public_cost, tags=labels)

    def _label(self, tenant: str) -> str:
        if tenant not in self._known:
            if len(self._known) >= MAX_TENANTS:
                return OTHERS
            self._known.add(tenant)
        return tenant
