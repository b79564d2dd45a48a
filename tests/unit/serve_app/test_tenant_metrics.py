"""What tenants use and what it costs, as it reaches Ray's counters (which cannot be read back)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal

import pytest

from deployments.call import Usage
from serve_app import tenant_metrics
from serve_app.auth.principal import Principal
from serve_app.observation import Observation
from serve_app.tenant_metrics import MAX_TENANTS, OTHERS, TenantMetrics
from serve_app.usage.prices import PriceConfig

counted: Counter[tuple[str, ...]] = Counter()


class ReadableCounter:
    """Ray's counter, as far as it is used; the same refusals."""

    def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
        assert description
        self._name, self._tag_keys = name, tag_keys

    def inc(self, value: float, tags: Mapping[str, str]) -> None:
        assert value > 0
        assert set(tags) == set(self._tag_keys)
        counted[self._name, *(tags[key] for key in self._tag_keys)] += value  # type: ignore[assignment]


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> TenantMetrics:
    counted.clear()
    monkeypatch.setattr(tenant_metrics, "Counter", ReadableCounter)
    prices = PriceConfig(
        input_cny_per_million_tokens=Decimal(2),
        output_cny_per_million_tokens=Decimal(4),
        public_input_cny_per_million_tokens=Decimal(20),
        public_output_cny_per_million_tokens=Decimal(40),
    )
    return TenantMetrics({"chat": prices})


def ended(tenant: str, model: str, tokens_in: int, tokens_out: int) -> Observation:
    principal = Principal("lisi", frozenset({"user"}), tenant)
    usage = Usage(tokens_in, tokens_out)
    return Observation("id", "id-1", "POST", "/v1", model=model, principal=principal, usage=usage)


def test_tokens_and_their_price_are_counted_by_tenant_and_model(metrics: TenantMetrics) -> None:
    metrics.record(ended("search", "chat", 1000, 500))
    metrics.record(ended("search", "chat", 1000, 0))
    metrics.record(ended("search", "free", 7, 0))
    assert counted == {
        ("qwen_serve_tenant_requests", "search", "chat"): 2,
        ("qwen_serve_tenant_requests", "search", "free"): 1,
        ("qwen_serve_tenant_tokens", "search", "chat", "in"): 2000,
        ("qwen_serve_tenant_tokens", "search", "chat", "out"): 500,
        ("qwen_serve_tenant_tokens", "search", "free", "in"): 7,
        ("qwen_serve_tenant_cost_cny", "search", "chat"): pytest.approx(0.006),
        ("qwen_serve_tenant_public_cost_cny", "search", "chat"): pytest.approx(0.06),
    }


def test_request_without_a_caller_or_a_model_is_nobodys(metrics: TenantMetrics) -> None:
    metrics.record(Observation("id", "id-1", "POST", "/v1", model="chat"))
    metrics.record(ended("search", "", 1, 1))
    assert not counted


def test_series_are_bounded_whatever_the_tokens_say(metrics: TenantMetrics) -> None:
    for number in range(MAX_TENANTS + 50):
        metrics.record(ended(f"tenant-{number}", "chat", 1, 1))
    metrics.record(ended("tenant-0", "chat", 1, 1))
    requests = {key[1]: count for key, count in counted.items() if key[0] == "qwen_serve_tenant_requests"}
    assert len(requests) == MAX_TENANTS + 1
    assert (requests["tenant-0"], requests[OTHERS]) == (2, 50)
