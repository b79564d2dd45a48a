"""Traces of requests through the whole ingress, as a real exporter sends them to a collector over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from pydantic import ValidationError

from deployments.call import Answer, Reason, Refusal, Usage
from deployments.timing import Timing
from serve_app import ingress
from serve_app.config import AppConfig
from serve_app.tracing_config import TracingConfig
from tests.unit.serve_app.conftest import ScriptedUpstream
from tests.unit.serve_app.test_audit_wiring import CHAT, CHAT_PATH, FRAME, bearer, client_of, serving

DEADLINE_S = 30.0
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


class Collector:
    """Takes what an exporter sends, and keeps it."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.resource: dict[str, str] = {}
        app = web.Application()
        app.router.add_post("/v1/traces", self._take)
        self.server = TestServer(app)

    async def _take(self, request: web.Request) -> web.Response:
        sent = ExportTraceServiceRequest.FromString(await request.read())
        for group in sent.resource_spans:
            self.resource |= {each.key: each.value.string_value for each in group.resource.attributes}
            for scope in group.scope_spans:
                self.spans += scope.spans
        return web.Response()

    def tree(self, request_id: str) -> tuple[Span, dict[str, Span]]:
        """The root of a request's trace and what is below it."""
        (root,) = [one for one in self.spans if attributes(one).get("qwen_serve.request_id") == request_id]
        below = [one for one in self.spans if one.parent_span_id == root.span_id]
        assert all(one.trace_id == root.trace_id for one in below)
        return root, {one.name: one for one in below}


def attributes(span: Span) -> dict[str, Any]:
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value")
        for each in span.attributes
    }


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    made = Collector()
    await made.server.start_server()
    yield made
    await made.server.close()


def traced(config: AppConfig, collector: Collector, **fields: Any) -> AppConfig:
    tracing = TracingConfig(otlp_endpoint=str(collector.server.make_url("/v1/traces")), **fields)
    return config.model_copy(update={"tracing": tracing})


async def ask(
    config: AppConfig, upstream: ScriptedUpstream, request_id: str, *, stream: bool = False, **headers: str
) -> None:
    """One request to an ingress that is closed afterwards, and so has sent its traces."""
    async with serving(config, upstream) as app, client_of(app, bearer(config, "zhangsan")) as client:
        more = {"x-request-id": request_id, **headers}
        await client.post(CHAT_PATH, json={**CHAT, "stream": stream}, headers=more)


def used(queue_s: float | None = 0.01) -> Usage:
    return Usage(7, 3, Timing(0.02, 0.05, queue_s, arrived_at=time.time()))


@pytest.mark.parametrize("stream", [False, True])
async def test_request_is_one_tree_of_ingress_queue_engine_and_filter(
    config: AppConfig, upstream: ScriptedUpstream, collector: Collector, stream: bool
) -> None:
    upstream.reply = Answer(b'{"object":"chat.completion","choices":[]}', used())
    upstream.items = [FRAME, FRAME, used()]
    await ask(traced(config, collector), upstream, "order-66", stream=stream)

    root, parts = collector.tree("order-66")
    assert (root.name, root.kind) == (f"POST {CHAT_PATH}", Span.SPAN_KIND_SERVER)
    assert list(parts) == ["filter prompt", "queue", "engine", "filter answer"]
    assert parts["queue"].end_time_unix_nano == parts["engine"].start_time_unix_nano
    for part in parts.values():
        assert root.start_time_unix_nano <= part.start_time_unix_nano <= part.end_time_unix_nano
        assert part.end_time_unix_nano <= root.end_time_unix_nano
    said = attributes(root)
    assert (said["gen_ai.response.model"], said["gen_ai.usage.output_tokens"]) == ("chat", 3)
    assert said["qwen_serve.engine_request_id"].startswith("order-66-")
    assert collector.resource["service.name"] == "qwen-serve"


async def test_callers_trace_goes_on(
    config: AppConfig, upstream: ScriptedUpstream, collector: Collector
) -> None:
    await ask(
        traced(config, collector, sampling_ratio=0), upstream, "a", traceparent=f"00-{TRACE}-{CALLER}-01"
    )
    root, _ = collector.tree("a")
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (TRACE, CALLER)


async def test_request_that_fails_is_marked_and_its_text_is_nowhere(
    config: AppConfig, upstream: ScriptedUpstream, collector: Collector
) -> None:
    upstream.items = [FRAME, Refusal(Reason.FAILED, "secret words of the engine")]
    await ask(traced(config, collector), upstream, "b", stream=True)
    root, _ = collector.tree("b")
    assert root.status.code == Status.STATUS_CODE_ERROR
    assert attributes(root)["error.type"] == "internal_error"
    for text in ("secret words", "Hello!", "zhangsan"):
        assert text not in str(collector.spans)


async def test_probes_and_what_is_not_sampled_have_no_trace(
    config: AppConfig, upstream: ScriptedUpstream, collector: Collector
) -> None:
    await ask(traced(config, collector, sampling_ratio=0), upstream, "c")
    assert not collector.spans


async def test_collector_that_is_away_holds_up_no_request(
    config: AppConfig, upstream: ScriptedUpstream, collector: Collector
) -> None:
    config = traced(config, collector)
    await collector.server.close()
    async with serving(config, upstream) as app, client_of(app, bearer(config, "zhangsan")) as client:
        async with asyncio.timeout(DEADLINE_S):
            answers = [await client.post(CHAT_PATH, json=CHAT) for _ in range(20)]
        assert {answer.status_code for answer in answers} == {httpx.codes.OK}


def test_without_the_key_nobody_makes_traces(config: AppConfig) -> None:
    assert ingress._traces(config, "replica") == ()


@pytest.mark.parametrize("url", ["collector:4317", "ftp://collector", "http://user:word@collector/v1/traces"])
def test_endpoint_that_is_no_url_or_holds_a_password_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="otlp_endpoint"):
        TracingConfig(otlp_endpoint=url)
