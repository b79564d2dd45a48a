"""One span tree for each request, made when it has ended: ingress, and below it queue, engine and filter.

Made of times that are taken anyway, so that a token costs nothing, whether traces are on or off. What is
not a request to a model has one span. No text, user or credential is in any.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serve_app.observation import Observation
from serve_app.tracing_config import TracingConfig

_EXPORT_TIMEOUT_S: Final = 5.0
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Part:
    """A child span; begin and end in nanoseconds since 1970."""

    name: str
    begin: int
    end: int


class TraceRecorder:
    """Exports the trace of each request that has ended, in the background.

    Args:
        config: Where to.
        replica: Name of this replica.
    """

    def __init__(self, config: TracingConfig, replica: str) -> None:
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(config.sampling_ratio)),
            resource=Resource.create({"service.name": "qwen-serve", "service.instance.id": replica}),
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(endpoint=config.otlp_endpoint, timeout=_EXPORT_TIMEOUT_S)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("qwen-serve")
        self._propagator = TraceContextTextMapPropagator()

    def record(self, seen: Observation) -> None:
        """Make the trace of a request; probes have none."""
        if seen.probe:
            return
        # Spans have the wall's clock, observations a monotonic one.
        offset = time.time() - time.monotonic()
        begin, end = _ns(seen.started + offset), _ns((seen.ended or time.monotonic()) + offset)
        root = self._tracer.start_span(
            f"{seen.method} {seen.path}" if seen.task else seen.method,
            self._propagator.extract({"traceparent": seen.traceparent}),
            SpanKind.SERVER,
            _attributes(seen),
            start_time=begin,
        )
        if root.is_recording():
            below = set_span_in_context(root)
            for part in _parts(seen, offset):
                # Another machine's clock may be off; a child does not leave its parent.
                first = min(max(part.begin, begin), end)
                child = self._tracer.start_span(part.name, below, start_time=first)
                child.end(min(max(part.end, first), end))
        if seen.failed:
            root.set_status(StatusCode.ERROR, seen.error)
        root.end(end)

    def close(self) -> None:
        """Send what waits; takes seconds where the collector is away."""
        self._provider.shutdown()


def _parts(seen: Observation, offset: float) -> Iterator[_Part]:
    if seen.prompt_filtered is not None:
        begin, end = seen.prompt_filtered
        yield _Part("filter prompt", _ns(begin + offset), _ns(end + offset))
    if timing := seen.usage.timing:
        waited = timing.arrived_at + (timing.queue_s or 0)
        if timing.queue_s is not None:
            yield _Part("queue", _ns(timing.arrived_at), _ns(waited))
        yield _Part("engine", _ns(waited), _ns(waited + timing.engine_s))
    if seen.answer_filtered is not None:
        begin, end = seen.answer_filtered
        yield _Part("filter answer", _ns(begin + offset), _ns(end + offset))


def _attributes(seen: Observation) -> dict[str, Any]:
    """By OpenTelemetry's conventions for HTTP and for generative models."""
    made: dict[str, Any] = {
        "http.request.method": seen.method,
        "http.response.status_code": seen.status,
        "qwen_serve.request_id": seen.request_id,
    }
    if seen.task:
        made |= {
            "gen_ai.operation.name": seen.task,
            "gen_ai.request.model": seen.alias,
            "gen_ai.response.model": seen.model,
            "gen_ai.usage.input_tokens": seen.usage.prompt_tokens,
            "gen_ai.usage.output_tokens": seen.usage.completion_tokens,
            "qwen_serve.engine_request_id": seen.engine_request_id,
            "qwen_serve.stream": seen.stream,
            "qwen_serve.filter_s": seen.filter_s,
            "qwen_serve.framework_s": seen.framework_s,
        }
    if seen.error:
        made["error.type"] = seen.error
    return made


def _ns(seconds: float) -> int:
    return int(seconds * _NS)
