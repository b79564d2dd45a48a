"""The dashboard of tenants and cost. Bills come from ``qwen-serve usage``; this shows how they come about."""

from __future__ import annotations

from cluster.monitoring.panels import (
    CNY,
    COUNT,
    PER_SECOND,
    Panel,
    Query,
    Row,
    Variable,
    figure,
    lines,
    render,
)

_CHOSEN = '{tenant=~"$tenant"}'


def build() -> str:
    """Its JSON."""
    return render(
        "qwen-serve-tenants",
        "qwen-serve / Tenants and cost",
        [Row("In the time shown", _sums()), Row("Use", _use()), Row("Cost", _cost())],
        [Variable("tenant", "ray_qwen_serve_tenant_requests_total")],
    )


def _increase(series: str, by: str = "") -> str:
    grouping = f"sum by ({by})" if by else "sum"
    return f"{grouping} (increase({series}{_CHOSEN}[$__range]))"


def _rate(series: str, by: str) -> str:
    return f"sum by ({by}) (rate({series}{_CHOSEN}[$__rate_interval]))"


def _sums() -> list[Panel]:
    return [
        figure("Requests", COUNT, Query(_increase("ray_qwen_serve_tenant_requests_total"))),
        figure("Tokens", COUNT, Query(_increase("ray_qwen_serve_tenant_tokens_total"))),
        figure("Cost", CNY, Query(_increase("ray_qwen_serve_tenant_cost_cny_total"))),
        figure(
            "On the public API",
            CNY,
            Query(_increase("ray_qwen_serve_tenant_public_cost_cny_total")),
            about="By the public prices in the configuration.",
        ),
    ]


def _use() -> list[Panel]:
    return [
        lines(
            "Requests",
            PER_SECOND,
            Query(_rate("ray_qwen_serve_tenant_requests_total", "tenant"), "{{tenant}}"),
            stacked=True,
        ),
        lines(
            "Tokens",
            COUNT,
            Query(
                _rate("ray_qwen_serve_tenant_tokens_total", "tenant, direction"), "{{tenant}} {{direction}}"
            ),
            about="Per second.",
            stacked=True,
        ),
        lines(
            "Tokens by model",
            COUNT,
            Query(_rate("ray_qwen_serve_tenant_tokens_total", "model"), "{{model}}"),
            about="Per second.",
            stacked=True,
        ),
    ]


def _cost() -> list[Panel]:
    return [
        lines(
            "Cost per hour by tenant",
            CNY,
            Query(f"3600 * {_rate('ray_qwen_serve_tenant_cost_cny_total', 'tenant')}", "{{tenant}}"),
            stacked=True,
        ),
        lines(
            "Cost per hour by model",
            CNY,
            Query(f"3600 * {_rate('ray_qwen_serve_tenant_cost_cny_total', 'model')}", "{{model}}"),
            stacked=True,
        ),
        lines(
            "Here and on the public API, per hour",
            CNY,
            Query(
                f"3600 * sum(rate(ray_qwen_serve_tenant_cost_cny_total{_CHOSEN}[$__rate_interval]))", "here"
            ),
            Query(
                f"3600 * sum(rate(ray_qwen_serve_tenant_public_cost_cny_total{_CHOSEN}[$__rate_interval]))",
                "public API",
            ),
        ),
    ]
