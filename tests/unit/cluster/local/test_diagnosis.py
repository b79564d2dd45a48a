"""The reason of a failure, found in what Serve says or in the logs of the engines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cluster.local.application import parse_status
from cluster.local.diagnosis import last_words, why_failed
from cluster.local.status import Deployment, ServeStatus

_TRACEBACK = """The deployment failed to start 3 times in a row. Error:
\x1b[36mray::ServeReplica:app:Model.initialize()\x1b[39m (pid=7)
  File "server.py", line 12, in __init__
    raise FileNotFoundError(path)
FileNotFoundError: models/demo-chat/model.safetensors
"""


def _failed(message: str) -> ServeStatus:
    return ServeStatus(
        "DEPLOY_FAILED",
        "Failed to update the deployments ['Model'].",
        (Deployment("Ingress", "HEALTHY", ""), Deployment("Model", "DEPLOY_FAILED", message)),
    )


def test_exception_of_the_replica_is_the_reason(tmp_path: Path) -> None:
    reason = why_failed(_failed(_TRACEBACK), tmp_path)

    assert reason == ("Model: FileNotFoundError: models/demo-chat/model.safetensors",)


def test_root_in_an_engines_log_goes_before_a_report_of_it(tmp_path: Path) -> None:
    log = tmp_path / "worker-1.err"
    log.write_text(
        "(EngineCore pid=12) ERROR 11-23 06:40:00 [core.py:936] Traceback (most recent call last):\n"
        "(EngineCore pid=12) ERROR 11-23 06:40:00 [core.py:936] ValueError: no config.json in here\n"
        "RuntimeError: Engine core initialization failed. See root cause above.\n"
    )

    reason = why_failed(
        _failed("RuntimeError: Engine core initialization failed. See root cause above."), tmp_path
    )

    assert reason == ("Model: ValueError: no config.json in here",)


def test_latest_log_is_believed(tmp_path: Path) -> None:
    for age, name in ((100, "old"), (0, "new")):
        log = tmp_path / f"worker-{name}.err"
        log.write_text(f"ValueError: {name}\n")
        os.utime(log, (1_000_000 - age, 1_000_000 - age))

    assert why_failed(_failed("no more is known"), tmp_path) == ("Model: ValueError: new",)


def test_without_any_exception_the_message_is_the_reason(tmp_path: Path) -> None:
    assert (
        why_failed(_failed("the replica was told to stop"), tmp_path)[0]
        == "Model: the replica was told to stop"
    )


def test_last_words_of_a_log_are_its_last_exception_or_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "serve.log"
    log.write_text("start\nModuleNotFoundError: No module named 'tiny'\nat exit\n")
    assert last_words(log) == ("ModuleNotFoundError: No module named 'tiny'",)

    log.write_text("one\ntwo\n\nthree\n")
    assert last_words(log, lines=2) == ("two", "three")


def test_log_that_does_not_exist_has_no_last_words(tmp_path: Path) -> None:
    assert last_words(tmp_path / "none.log") == ()


@pytest.mark.parametrize(
    ("status", "failed"), [("DEPLOY_FAILED", True), ("UNHEALTHY", True), ("RUNNING", False)]
)
def test_status_of_serve_is_understood(status: str, failed: bool) -> None:
    body = {
        "applications": {
            "other": {"status": "RUNNING", "message": "", "deployments": {}},
            "app": {
                "status": status,
                "message": "why",
                "deployments": {"M": {"status": "HEALTHY", "message": ""}},
            },
        }
    }

    parsed = parse_status(body)

    assert parsed is not None
    assert parsed.failed is failed


def test_no_application_yet_is_no_status() -> None:
    assert parse_status({"applications": {}}) is None
