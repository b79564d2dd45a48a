"""The dashboard of one model, or several side by side: what clients see, and what the engine does."""

from __future__ import annotations

from cluster.monitoring.panels import (
    COUNT,
    PER_SECOND,
    SECONDS,
    SHARE,
    Panel,
    Query,
    Row,
    Variable,
    lines,
    render,
)


def build() -> str:
    """Its JSON."""
    return render(
        "qwen-serve-model",
        "qwen-serve / Models",
        [Row("As clients see it", _clients()), Row("The engine", _engine()), Row("Replicas", _replicas())],
        [Variable("model", "ray_qwen_serve_requests_total")],
    )


def _quantile(quantile: float, series: str, by: str = "model", label: str = "model") -> str:
    rate = f'rate({series}_bucket{{{label}=~"$model"}}[$__rate_interval])'
    return f"histogram_quantile({quantile}, sum by ({by}, le) ({rate}))"


def _rate(series: str, by: str) -> str:
    return f'sum by ({by}) (rate({series}{{model=~"$model"}}[$__rate_interval]))'


def _clients() -> list[Panel]:
    ttft = "ray_qwen_serve_time_to_first_token_seconds"
    return [
        lines(
            "Requests by status",
            PER_SECOND,
            Query(
                _rate("ray_qwen_serve_requests_total", "model, status"),
                "{{model}} {{status}}",
            ),
        ),
        lines(
            "Time to first token",
            SECONDS,
            Query(_quantile(0.5, ttft), "{{model}} p50"),
            Query(_quantile(0.99, ttft), "{{model}} p99"),
        ),
        lines(
            "Latency of whole requests, p99",
            SECONDS,
            Query('qwen_serve:latency:p99_5m{model=~"$model"}', "{{model}} {{task}}"),
        ),
        lines(
            "Tokens out",
            COUNT,
            Query(
                _rate("ray_qwen_serve_output_tokens_total", "model"),
                "{{model}}",
            ),
            about="Per second.",
        ),
        lines(
            "Streams that broke",
            PER_SECOND,
            Query(
                _rate("ray_qwen_serve_broken_streams_total", "model"),
                "{{model}}",
            ),
        ),
        lines(
            "Framework's own time, p99",
            SECONDS,
            Query(_quantile(0.99, "ray_qwen_serve_framework_time_seconds"), "{{model}}"),
            about="Neither the engine's nor the content filter's.",
        ),
    ]


def _engine() -> list[Panel]:
    chosen = '{model_name=~"$model"}'
    return [
        lines(
            "Requests in the engine",
            COUNT,
            Query(f"sum by (model_name) (ray_vllm_num_requests_running{chosen})", "{{model_name}} running"),
            Query(f"sum by (model_name) (ray_vllm_num_requests_waiting{chosen})", "{{model_name}} waiting"),
            about="vLLM tells while it works; a gap is idle time.",
        ),
        lines(
            "KV cache in use",
            SHARE,
            Query(f"max by (model_name, ReplicaId) (ray_vllm_kv_cache_usage_perc{chosen})", "{{model_name}}"),
        ),
        lines(
            "Between tokens",
            SECONDS,
            Query(
                _quantile(0.5, "ray_vllm_inter_token_latency_seconds", "model_name", "model_name"),
                "{{model_name}} p50",
            ),
            Query(
                _quantile(0.99, "ray_vllm_inter_token_latency_seconds", "model_name", "model_name"),
                "{{model_name}} p99",
            ),
        ),
        lines(
            "Engine's queue, p99",
            SECONDS,
            Query(_quantile(0.99, "ray_qwen_serve_engine_queue_time_seconds"), "{{model}}"),
        ),
        lines(
            "Prompt tokens by source",
            COUNT,
            Query(
                f"sum by (model_name, source) (rate(ray_vllm_prompt_tokens_by_source_total{chosen}"
                "[$__rate_interval]))",
                "{{model_name}} {{source}}",
            ),
            about="Per second; what comes from the prefix cache is not computed again.",
        ),
        lines(
            "Requests by how they finished",
            PER_SECOND,
            Query(
                f"sum by (model_name, finished_reason) (rate(ray_vllm_request_success_total{chosen}"
                "[$__rate_interval]))",
                "{{model_name}} {{finished_reason}}",
            ),
        ),
    ]


def _replicas() -> list[Panel]:
    chosen = '{deployment=~"ModelServer:($model)"}'
    return [
        lines(
            "Replicas",
            COUNT,
            Query(
                f"sum by (deployment) (ray_serve_deployment_replica_healthy{chosen})",
                "{{deployment}} healthy",
            ),
            Query(
                f"max by (deployment) (ray_serve_autoscaling_target_replicas{chosen})",
                "{{deployment}} wanted",
            ),
        ),
        lines(
            "Requests at replicas",
            COUNT,
            Query(f"sum by (replica) (ray_serve_replica_processing_queries{chosen})", "{{replica}}"),
        ),
        lines(
            "Requests that wait for a replica",
            COUNT,
            Query(f"sum by (deployment) (ray_serve_deployment_queued_queries{chosen})", "{{deployment}}"),
        ),
    ]
