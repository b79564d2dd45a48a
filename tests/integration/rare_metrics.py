"""What a Ray of its own exports of the ingress's metrics that few applications have something to tell of.

``python -m tests.integration.rare_metrics FILE`` writes a scrape that has all that was told.
"""

from __future__ import annotations

import socket
import sys
import time
import urllib.request
from pathlib import Path
from typing import Final

import ray

from serve_app.audit_recorder import AuditState
from serve_app.metrics import IngressMetrics
from serve_app.vitals import Vitals

EXPORTED_WITHIN_S: Final = 120
EXPIRES_AT: Final = 2_000_000_000.0
GPUS: Final = (1.0, 4.0)
UNRECORDED: Final = 3
_SERIES: Final = ("certificate_expiry_timestamp_seconds", "fleet_gpus", "audit_unrecorded_requests")


def tell(metrics: IngressMetrics) -> None:
    """A certificate, a fleet's GPUs, and an audit whose disk has failed."""
    metrics.tell_certificate(EXPIRES_AT)
    metrics.tell_vitals(Vitals(ledger_away=False, states={}, waiting={}, gpus={"A10": GPUS}))
    metrics.tell_audit(AuditState("the disk is full", 0, UNRECORDED, ""))


def main(file: Path) -> None:
    """Tell and scrape until all is there, or it has taken too long; the last scrape is written."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, _metrics_export_port=port)
    metrics = IngressMetrics({})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + EXPORTED_WITHIN_S
    text = ""
    while not all(series in text for series in _SERIES) and time.monotonic() < deadline:
        tell(metrics)  # again and again, as an ingress does: Ray forgets a gauge that nobody sets
        time.sleep(1)  # between two scrapes
        try:
            with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
                text = answer.read().decode()
        except OSError:
            continue  # the exporter is not up yet
    file.write_text(text, encoding="utf-8")
    ray.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
