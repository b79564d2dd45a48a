"""Rules and dashboards against a real scrape of the running application, by a real Prometheus.

A name that nobody exports is found nowhere else: promtool takes any, and a rule that reads it is silent.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from prometheus_client.parser import text_string_to_metric_families

from tests.cluster.expressions import FOLDER, RULES, Expression, everywhere, rules
from tests.integration import rare_metrics
from tests.integration.conftest import Application
from tests.integration.test_faults import LONG, replicas, wait_until_ready
from tests.integration.test_operation import CHAT, records
from tests.prometheus import Prometheus, scraping
from tests.ray_process import found_by

pytestmark = pytest.mark.integration

SEEN_WITHIN_S = 240
"""Ray hands figures on every ten seconds; a machine that is busy takes longer."""

ABSENT: Final = {
    "ray_qwen_serve_certificate_expiry_timestamp_seconds": "where TLS is on",
    "ray_qwen_serve_fleet_gpus": "where there are GPUs",
    "ray_qwen_serve_audit_unrecorded_requests_total": "once the audit's disk has failed",
}
"""What this application rightly does not show, and when it would.

A scrape of a Ray of its own shows them, below, where the ingress's metrics are told of such things. An
application under TLS shows the first (``test_tls.py``); no scrape here is of a fleet, or of a full disk.
"""

RAYS_GPUS: Final = {"ray_node_gpus_utilization", "ray_node_gram_available", "ray_node_gram_used"}
GPUS: Final = {"qwen_serve:gpu_utilization:ratio", "qwen_serve:gpu_memory_free:ratio"}
RECORDED: Final = {rule["record"] for rule in rules() if "record" in rule}


@pytest.fixture(scope="module")
def prometheus(
    application: Application, http: httpx.Client, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """It has seen one of everything: answers, streams, refusals, a replica killed in mid-stream."""
    if application.state is None:
        pytest.skip("the application was started by hand (QWEN_SERVE_TEST_URL); nothing of it is killed")
    session = (application.state / "logs" / "ray").resolve().parent
    discovery = session / "prom_metrics_service_discovery.json"
    with scraping(tmp_path_factory.mktemp("prometheus"), discovery, RULES) as running:
        ask(http)
        break_a_stream(application, http, application.state)
        yield running


def ask(http: httpx.Client) -> None:
    """One request of each kind."""
    http.post("/v1/chat/completions", json=CHAT)
    list(http.post("/v1/chat/completions", json={**CHAT, "stream": True}).iter_lines())
    http.post("/v1/embeddings", json={"model": "text-embedding-v3", "input": "Hello!"})
    http.post("/v1/rerank", json={"model": "gte-rerank-v2", "query": "Hello?", "documents": ["Hello!"]})
    http.post("/v1/chat/completions", json={**CHAT, "model": "nobody"})


def break_a_stream(application: Application, http: httpx.Client, state: Path) -> None:
    """Kill the replica that makes a stream, and wait for its successor."""
    before = replicas(state, "ModelServer:demo-chat")
    said = ""
    with http.stream("POST", "/v1/chat/completions", json=LONG) as response:
        for line in response.iter_lines():
            if not said:
                for pid in before:
                    os.kill(pid, signal.SIGKILL)
            said += line
    assert '"error"' in said
    wait_until_ready(application, state, "ModelServer:demo-chat", frozenset(before))


def eventually_seen(
    prometheus: Prometheus, http: httpx.Client, expression: Expression
) -> list[dict[str, Any]]:
    """What an expression gives, as soon as it gives anything, while requests come."""
    deadline = time.monotonic() + SEEN_WITHIN_S
    while time.monotonic() < deadline:
        if result := prometheus.query(expression.text):
            return result
        ask(http)
        time.sleep(1)  # between two scrapes
    pytest.fail(f"{expression.where} gives nothing: {expression.text}")


def test_every_series_is_one_that_a_scrape_shows(prometheus: Prometheus, http: httpx.Client) -> None:
    dcgm = (FOLDER / "dcgm_series.txt").read_text(encoding="utf-8")
    known = (
        {line for line in dcgm.splitlines() if not line.startswith("#")} | RAYS_GPUS | set(ABSENT) | RECORDED
    )
    needed = {name: each.where for each in everywhere() for name in each.names()}
    deadline = time.monotonic() + SEEN_WITHIN_S
    while missing := needed.keys() - known - prometheus.names():
        assert time.monotonic() < deadline, {name: needed[name] for name in missing}
        ask(http)
        time.sleep(1)  # between two scrapes


def test_what_is_said_to_be_absent_is_read_somewhere() -> None:
    needed = {name for each in everywhere() for name in each.names()}
    assert set(ABSENT) | RAYS_GPUS | GPUS <= needed


def test_absent_series_are_exported_where_there_is_something_to_tell() -> None:
    text = found_by("tests.integration.rare_metrics")
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    values = {name: sorted(sample.value for sample in samples if sample.name == name) for name in ABSENT}
    assert values == {
        "ray_qwen_serve_certificate_expiry_timestamp_seconds": [rare_metrics.EXPIRES_AT],
        "ray_qwen_serve_fleet_gpus": list(rare_metrics.GPUS),
        "ray_qwen_serve_audit_unrecorded_requests_total": [rare_metrics.UNRECORDED],
    }


def test_rays_own_figures_of_gpus_are_called_so() -> None:
    from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES

    assert {f"ray_{gauge.name}" for gauge in METRICS_GAUGES.values()} >= RAYS_GPUS


SHOWN = [
    each
    for each in everywhere()
    if not any(name.startswith("DCGM_") or name in {*ABSENT, *RAYS_GPUS, *GPUS} for name in each.names())
    and not (each.where.startswith("rules") and each.where.split()[-1][0].isupper())
]


@pytest.mark.parametrize("expression", SHOWN, ids=lambda each: each.where)
def test_expression_gives_something(
    prometheus: Prometheus, http: httpx.Client, expression: Expression
) -> None:
    eventually_seen(prometheus, http, expression)


def test_prometheus_takes_the_other_expressions_too(prometheus: Prometheus) -> None:
    for expression in everywhere():
        prometheus.query(expression.text)


def test_killed_replica_and_its_broken_stream_are_told_by_their_alerts(
    prometheus: Prometheus, http: httpx.Client
) -> None:
    restarts = Expression("", 'ALERTS{alertname="ReplicaRestarts", deployment="ModelServer:demo-chat"}')
    (alert,) = eventually_seen(prometheus, http, restarts)
    assert alert["metric"]["alertstate"] == "firing"
    eventually_seen(
        prometheus, http, Expression("", 'ray_qwen_serve_broken_streams_total{model="demo-chat"} > 0')
    )


@pytest.mark.parametrize("alert", ["MetricsAbsent", "AuditNotWriting", "LedgerAway", "ModelLoadFailed"])
def test_healthy_application_raises_no_such_alert(prometheus: Prometheus, alert: str) -> None:
    assert prometheus.query(f'ALERTS{{alertname="{alert}"}}') == []


def test_one_request_id_leads_from_the_ingress_to_the_engine(
    application: Application, http: httpx.Client
) -> None:
    if application.state is None:
        pytest.skip("the application was started by hand (QWEN_SERVE_TEST_URL); its logs are not known here")
    for stream in (False, True):
        request_id = f"correlated-{int(stream)}"
        headers = {"x-request-id": request_id}
        answer = http.post("/v1/chat/completions", json={**CHAT, "stream": stream}, headers=headers)
        list(answer.iter_lines())
        lines = (
            line_of(application.state, "Ingress", request_id),
            line_of(application.state, "ModelServer_demo-chat", request_id),
        )
        ingress, replica = lines
        assert ingress["engine_request_id"] == replica["engine_request_id"]
        assert (replica["outcome"], replica["stream"]) == ("done", stream)
        assert replica["output_tokens"] == ingress["output_tokens"]
        assert "Hello!" not in str(lines)


def line_of(state: Path, deployment: str, request_id: str) -> dict[str, Any]:
    """The one line in which a deployment tells of a request."""
    deadline = time.monotonic() + SEEN_WITHIN_S
    while time.monotonic() < deadline:
        told = [
            each
            for each in records(state, deployment)
            if each.get("request_id") == request_id and each["message"] in ("request", "call")
        ]
        if told:
            (line,) = told
            return line
        time.sleep(0.2)  # until it is written
    pytest.fail(f"{deployment} tells nothing of {request_id}")


def test_every_line_of_a_replica_is_of_the_one_schema(application: Application, http: httpx.Client) -> None:
    if application.state is None:
        pytest.skip("the application was started by hand (QWEN_SERVE_TEST_URL); its logs are not known here")
    ask(http)
    schema = json.loads((FOLDER.parent / "logging" / "log-line.schema.json").read_text(encoding="utf-8"))
    validator = Draft202012Validator(schema)
    lines = [
        line for name in ("Ingress", "ModelServer", "Registry") for line in records(application.state, name)
    ]
    assert {"request", "call"} <= {line["message"] for line in lines}
    for line in lines:
        assert not (error := best_match(validator.iter_errors(line))), f"{error.message}: {line}"
