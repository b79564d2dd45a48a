"""An alert on its whole way: a scrape, our rules, a real Prometheus, a real Alertmanager, whoever is told."""

from __future__ import annotations

import json
import queue
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import prometheus_client
import pytest
import yaml

from tests.cluster.expressions import FOLDER, RULES
from tests.prometheus import ROOT, alertmanager, scraping

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

TOLD_WITHIN_S: Final = 60
"""Targets are found (5 s), a rule's `for` (3 s), and a warning waits for others of its group (15 s)."""

FASTER: Final = 10

TOKEN: Final = "a-token-of-the-receiver"
_UNIT_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000}


@dataclass(frozen=True, slots=True)
class Told:
    """What a receiver was sent: the path of its URL, its credentials, and the message."""

    path: str
    authorization: str
    message: dict[str, Any]


@contextmanager
def receiving() -> Iterator[tuple[str, queue.Queue[Told]]]:
    """A webhook: its URL, and what it is told."""
    told: queue.Queue[Told] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["content-length"])))
            told.put(Told(self.path, self.headers.get("authorization", ""), message))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", told
        finally:
            server.shutdown()
            thread.join(30)


@contextmanager
def exporting(registry: prometheus_client.CollectorRegistry) -> Iterator[str]:
    """An exporter of some metrics: its host and port."""
    server, thread = prometheus_client.start_http_server(0, "127.0.0.1", registry)
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)


def application_in_trouble() -> prometheus_client.CollectorRegistry:
    """What Ray exports of an application whose ledger does not answer and one of whose replicas failed."""
    registry = prometheus_client.CollectorRegistry()
    status = prometheus_client.Gauge("ray_serve_application_status", "", ["application"], registry=registry)
    status.labels("qwen-serve").set(6)  # running
    ledger = prometheus_client.Gauge(
        "ray_qwen_serve_ledger_reachable", "", ["application", "replica"], registry=registry
    )
    ledger.labels("qwen-serve", "i1").set(0)
    failed = prometheus_client.Counter(
        "ray_serve_health_check_failures", "", ["application", "deployment", "replica"], registry=registry
    )
    failed.labels("qwen-serve", "ModelServer:qwen-a", "r1").inc(3)
    return registry


def hastened(folder: Path) -> Path:
    """Our rules, in which a minute is six seconds.

    A `for` of minutes keeps short troubles from people, and a test from its end. All become shorter by one
    factor, not nothing: an alert still waits, and MetricsAbsent, which silences the others, still waits
    longer than the first scrape takes (Prometheus looks for targets every 5 s). What is recorded is recorded
    at the interval of the test's Prometheus.
    """
    folder.mkdir()
    for file in RULES.glob("*.yaml"):
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        for group in content["groups"]:
            group.pop("interval", None)
            for rule in group["rules"]:
                if "for" in rule:
                    rule["for"] = f"{milliseconds(rule['for']) // FASTER}ms"
        (folder / file.name).write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder


def milliseconds(duration: str) -> int:
    matched = re.fullmatch(r"(\d+)([smh])", duration)
    assert matched, duration
    return int(matched[1]) * _UNIT_MS[matched[2]]


def filled_in(folder: Path, url: str) -> Path:
    """Our example for Alertmanager, with an operator's own receivers and token, and else as it is."""
    token = folder / "alerts.token"
    token.write_text(f"{TOKEN}\n", encoding="ascii")
    text = (FOLDER / "alertmanager.yml").read_text(encoding="utf-8")
    for example, own in (
        ("https://alerts.example.cn", url),
        ("/etc/qwen-serve/alerts.token", str(token)),
    ):
        assert text.count(example) == 2, "once for each receiver"
        text = text.replace(example, own)
    file = folder / "alertmanager.yml"
    file.write_text(text, encoding="utf-8")
    return file


def test_alerts_reach_their_receivers_with_severity_and_runbook(tmp_path: Path) -> None:
    discovery = tmp_path / "prom_metrics_service_discovery.json"
    rules = hastened(tmp_path / "rules")
    with (
        receiving() as (url, told),
        exporting(application_in_trouble()) as target,
        alertmanager(tmp_path, filled_in(tmp_path, url)) as address,
    ):
        discovery.write_text(json.dumps([{"labels": {"job": "ray"}, "targets": [target]}]), encoding="utf-8")
        (tmp_path / "prometheus").mkdir()
        with scraping(tmp_path / "prometheus", discovery, rules, address):
            deadline = time.monotonic() + TOLD_WITHIN_S
            first, second = (told.get(timeout=max(0.0, deadline - time.monotonic())) for _ in range(2))
    assert told.empty(), "nothing else is amiss"
    for each, path, name, severity, about in (
        (first, "/hooks/on-call", "LedgerAway", "critical", "The ledger of the limits does not answer"),
        (second, "/hooks/chat", "ReplicaRestarts", "warning", "ModelServer:qwen-a: 1 replicas failed"),
    ):
        assert (each.path, each.authorization) == (path, f"Bearer {TOKEN}")
        (alert,) = each.message["alerts"]
        assert (alert["status"], alert["labels"]["alertname"]) == ("firing", name)
        assert (alert["labels"]["severity"], alert["labels"]["service"]) == (severity, "qwen-serve")
        assert alert["annotations"]["summary"].startswith(about)
        runbook = alert["annotations"]["runbook_url"]
        assert runbook == f"docs/runbooks/{name}.md"
        assert (ROOT / runbook).is_file()
