"""Metrics of the ingress, exported by Ray beside its own under the prefix ``ray_``."""

from __future__ import annotations

from collections.abc import Mapping

from ray.serve.metrics import Counter, Gauge, Histogram

from serve_app.audit_recorder import AuditState
from serve_app.observation import Observation
from serve_app.tenant_metrics import TenantMetrics
from serve_app.usage.prices import PriceConfig
from serve_app.vital_metrics import VitalMetrics
from serve_app.vitals import Vitals

# 3 s is the bound of the alert ApiLatencyHigh, which is exact only at a bucket's end.
_LATENCY_BUCKETS_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 3, 5, 10, 30, 60, 120, 300, 600]
_TTFT_BUCKETS_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 3, 5, 10, 30, 60]
_FRAMEWORK_BUCKETS_S = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
_MODEL = ("task", "model")
_LABELS = (*_MODEL, "status")
"""All from closed sets: tasks, configured model ids, HTTP status codes."""


class IngressMetrics:
    """Counts requests, latency, time to first token and tokens, by model and status.

    Args:
        prices: By model; may change.
    """

    def __init__(self, prices: Mapping[str, PriceConfig]) -> None:
        self._tenants = TenantMetrics(prices)
        self._vitals = VitalMetrics()
        self._requests = Counter(
            "qwen_serve_requests", description="Requests that have ended.", tag_keys=_LABELS
        )
        self._broken = Counter(
            "qwen_serve_broken_streams",
            description="Streams that ended with an error after their first byte, and so have status 200.",
            tag_keys=_MODEL,
        )
        self._latency = Histogram(
            "qwen_serve_request_latency_seconds",
            description="From arrival to the last byte.",
            boundaries=_LATENCY_BUCKETS_S,
            tag_keys=_LABELS,
        )
        self._ttft = Histogram(
            "qwen_serve_time_to_first_token_seconds",
            description="From arrival to the first frame of a stream.",
            boundaries=_TTFT_BUCKETS_S,
            tag_keys=_MODEL,
        )
        self._framework = Histogram(
            "qwen_serve_framework_time_seconds",
            description="What of the time to a stream's first token, or of the latency, is neither the "
            "engine's nor the content filter's.",
            boundaries=_FRAMEWORK_BUCKETS_S,
            tag_keys=_MODEL,
        )
        self._filter = Histogram(
            "qwen_serve_filter_time_seconds",
            description="In the content filter, for prompt and answer.",
            boundaries=_FRAMEWORK_BUCKETS_S,
            tag_keys=_MODEL,
        )
        self._queue = Histogram(
            "qwen_serve_engine_queue_time_seconds",
            description="Waiting for a place in the engine's batch.",
            boundaries=_TTFT_BUCKETS_S,
            tag_keys=_MODEL,
        )
        self._engine = Histogram(
            "qwen_serve_engine_time_seconds",
            description="From a place in the engine's batch to the last token.",
            boundaries=_LATENCY_BUCKETS_S,
            tag_keys=_MODEL,
        )
        self._input = Counter("qwen_serve_input_tokens", description="Prompt tokens.", tag_keys=_MODEL)
        self._output = Counter("qwen_serve_output_tokens", description="Generated tokens.", tag_keys=_MODEL)
        self._audit_ok = Gauge(
            "qwen_serve_audit_healthy", description="1 while the audit's disk takes records, otherwise 0."
        )
        self._audit_queued = Gauge(
            "qwen_serve_audit_queued_records", description="Records that wait for the audit's disk."
        )
        self._audit_shipping = Gauge(
            "qwen_serve_audit_shipping_healthy",
            description="1 while nothing keeps records from Elasticsearch, otherwise 0.",
        )
        self._unrecorded = Counter(
            "qwen_serve_audit_unrecorded_requests",
            description="Requests without a record, refused or served, as the disk did not take it.",
        )
        self._unrecorded_told = 0
        self._certificate = Gauge(
            "qwen_serve_certificate_expiry_timestamp_seconds",
            description="When the certificate of HTTPS expires, seconds since 1970; where TLS is on.",
        )
        self._unknown = Counter(
            "qwen_serve_unknown_frames", description="Frames of the token channel for no open stream."
        )

    def count_unknown_frames(self, frames: int) -> None:
        """Count frames that came for streams that are not open."""
        self._unknown.inc(frames)

    def tell_audit(self, state: AuditState) -> None:
        """How the audit is doing."""
        self._audit_ok.set(0 if state.problem else 1)
        self._audit_queued.set(state.queued)
        self._audit_shipping.set(0 if state.shipping_problem else 1)
        if more := state.unrecorded - self._unrecorded_told:
            self._unrecorded.inc(more)
            self._unrecorded_told = state.unrecorded

    def tell_vitals(self, vitals: Vitals) -> None:
        """How ledger, models and queues are."""
        self._vitals.tell(vitals)

    def tell_certificate(self, expires_at: float) -> None:
        """When the certificate expires, seconds since 1970."""
        self._certificate.set(expires_at)

    def record(self, seen: Observation) -> None:
        """Count a request that has ended."""
        model = {"task": seen.task or "none", "model": seen.model or "none"}
        labels = {**model, "status": str(seen.status)}
        self._requests.inc(1, tags=labels)
        self._latency.observe(seen.latency_s, tags=labels)
        if seen.failed and seen.status == 200:
            self._broken.inc(1, tags=model)
        self._tenants.record(seen)
        if seen.first_byte is not None:
            self._ttft.observe(seen.first_byte - seen.started, tags=model)
        if timing := seen.usage.timing:
            self._framework.observe(seen.framework_s, tags=model)
            self._engine.observe(timing.engine_s, tags=model)
            if timing.queue_s is not None:
                self._queue.observe(timing.queue_s, tags=model)
        if seen.filter_s:
            self._filter.observe(seen.filter_s, tags=model)
        # Ray's counters refuse an increment of zero.
        if seen.usage.prompt_tokens:
            self._input.inc(seen.usage.prompt_tokens, tags=model)
        if seen.usage.completion_tokens:
            self._output.inc(seen.usage.completion_tokens, tags=model)
