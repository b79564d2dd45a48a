"""The dashboard that one looks at first: whether all is well, and for whom not."""

from __future__ import annotations

from cluster.monitoring.panels import (
    BYTES,
    COUNT,
    PER_SECOND,
    SECONDS,
    SHARE,
    Panel,
    Query,
    Row,
    figure,
    lines,
    render,
)


def build() -> str:
    """Its JSON."""
    return render(
        "qwen-serve-overview",
        "qwen-serve / Overview",
        [
            Row("Now", _now()),
            Row("Requests", _requests()),
            Row("Foundations", _foundations()),
        ],
    )


def _now() -> list[Panel]:
    return [
        figure("Requests", PER_SECOND, Query("sum(qwen_serve:requests:rate5m)")),
        figure(
            "Failing",
            SHARE,
            Query("(sum(qwen_serve:failed_requests:rate5m) or vector(0)) / sum(qwen_serve:requests:rate5m)"),
            bad_from=0.01,
        ),
        figure("Slowest model, p99", SECONDS, Query("max(qwen_serve:answer_time:p99_5m)"), bad_from=3),
        figure(
            "Models failed",
            COUNT,
            Query('sum(max by (model) (ray_qwen_serve_model_state{state="failed"}))'),
            bad_from=1,
        ),
        figure("Audit", COUNT, Query("min(ray_qwen_serve_audit_healthy)"), about="1: writes", bad_below=1),
        figure(
            "Ledger", COUNT, Query("min(ray_qwen_serve_ledger_reachable)"), about="1: answers", bad_below=1
        ),
    ]


def _requests() -> list[Panel]:
    return [
        lines(
            "Requests by model",
            PER_SECOND,
            Query("sum by (model) (qwen_serve:requests:rate5m)", "{{model}}"),
            stacked=True,
        ),
        lines(
            "Answers by status",
            PER_SECOND,
            Query(
                'sum by (status) (rate(ray_qwen_serve_requests_total{task!="none"}[$__rate_interval]))',
                "{{status}}",
            ),
            stacked=True,
        ),
        lines("Share that fails", SHARE, Query("qwen_serve:error:ratio5m", "{{model}} {{task}}")),
        lines(
            "Until there is something to read, p99",
            SECONDS,
            Query("qwen_serve:answer_time:p99_5m", "{{model}} {{task}}"),
            about="First token of a stream; whole of an embedding or ranking.",
        ),
        lines(
            "Tokens",
            "short",
            Query("sum(rate(ray_qwen_serve_input_tokens_total[$__rate_interval]))", "in"),
            Query("sum(rate(ray_qwen_serve_output_tokens_total[$__rate_interval]))", "out"),
            about="Per second.",
        ),
        lines(
            "Where the time goes, mean",
            SECONDS,
            *(
                Query(
                    f"sum(rate(ray_qwen_serve_{part}_time_seconds_sum[$__rate_interval])) "
                    f"/ sum(rate(ray_qwen_serve_{part}_time_seconds_count[$__rate_interval]))",
                    name,
                )
                for part, name in (
                    ("framework", "ingress"),
                    ("engine_queue", "engine's queue"),
                    ("engine", "engine"),
                    ("filter", "content filter"),
                )
            ),
        ),
    ]


def _foundations() -> list[Panel]:
    return [
        lines(
            "Audit records that wait for the disk",
            COUNT,
            Query("sum by (replica) (ray_qwen_serve_audit_queued_records)", "{{replica}}"),
        ),
        lines(
            "Ray and the proxy",
            COUNT,
            Query("ray_serve_application_status", "{{application}} (6: running)"),
            Query("ray_serve_num_ongoing_http_requests", "requests open at the proxy"),
        ),
        lines("Memory of machines in use", BYTES, Query("max by (ip) (ray_node_mem_used)", "{{ip}}")),
    ]
