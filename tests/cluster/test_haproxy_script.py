"""The chart's wrapper of HAProxy, on what the installed Ray writes for it and with the real program."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ray.serve._private.haproxy import HAProxyApi, HAProxyConfig
from ray.serve.config import HTTPOptions

from serve_app.proxy import no_replica
from tests.cluster.objects import objects_of, one

STATS, METRICS = 8404, 9101


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """What Ray writes, after the wrapper has put it right and HAProxy has found it sound."""
    mounted, written = tmp_path / "mounted", tmp_path / "written"
    mounted.mkdir()
    written.mkdir()
    for name, text in one(objects_of("standard"), "ConfigMap", "qwen-serve-haproxy")["data"].items():
        (mounted / name).write_text(text, encoding="utf-8")
    (mounted / "haproxy.sh").chmod(0o555)
    config = HAProxyConfig(
        http_options=HTTPOptions(host="0.0.0.0", port=8000),
        stats_port=STATS,
        metrics_port=METRICS,
        socket_path=str(written / "ctl"),
        server_state_base=str(written),
        server_state_file=str(written / "server-state"),
        metrics_socket_path=str(written / "log"),
    )
    path = written / "haproxy.cfg"
    HAProxyApi(cfg=config, config_file_path=str(path))._generate_config_file_internal()
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(mounted / "haproxy.sh"),
    }
    subprocess.run(
        [mounted / "haproxy.sh", "-db", "-f", path, "-c"],
        check=True,
        capture_output=True,
        env={**os.environ, **environment},
        timeout=60,
    )
    return path


def test_statistics_and_metrics_stay_in_the_pod(configuration: Path) -> None:
    binds = re.findall(r"(?m)^ *bind (\S+)$", configuration.read_text(encoding="utf-8"))
    assert sorted(binds) == sorted(["*:8000", f"127.0.0.1:{STATS}", f"127.0.0.1:{METRICS}"])


def test_clients_address_is_passed_on(configuration: Path) -> None:
    assert "option forwardfor" in configuration.read_text(encoding="utf-8")


def test_answer_without_a_replica_is_http_and_ours(configuration: Path) -> None:
    (page,) = set(re.findall(r"errorfile \d+ (\S+)", configuration.read_text(encoding="utf-8")))
    head, _, body = Path(page).read_bytes().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nContent-Type: application/json\r\n" in head
    assert body == no_replica()
