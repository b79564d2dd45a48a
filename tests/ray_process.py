"""A Ray of its own in a process of its own, beside whatever else runs on the machine."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

HEAD: Mapping[str, Any] = {
    "include_dashboard": False,
    # Port 0 is one that the system finds free.
    "gcs_server_port": 0,
    "node_manager_port": 0,
    "dashboard_agent_listen_port": 0,
}
"""Arguments of a ``Cluster``'s head that stays out of others' way."""

_FOREIGN = ("RAY_ADDRESS", "RAY_NAMESPACE", "RAY_JOB_CONFIG_JSON_ENV_VAR")


def found_by(module: str, given: Mapping[str, str] | None = None, *, timeout_s: float = 400) -> str:
    """What a module writes into the file that is its only argument.

    Args:
        module: Run with ``python -m``, in the repository's root.
        given: Environment variables beside this process's own.
        timeout_s: Seconds that it may take.

    Raises:
        AssertionError: It failed; with the end of what it said.
    """
    environment = {key: value for key, value in os.environ.items() if key not in _FOREIGN}
    environment |= {"HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory(prefix="qs-") as folder:
        # RAY_TMPDIR also keeps its address out of the file in which `ray.init()` looks.
        environment |= {**(given or {}), "RAY_TMPDIR": folder}
        file = Path(folder, "found")
        result = subprocess.run(
            [sys.executable, "-m", module, str(file)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert result.returncode == 0, (result.stdout + result.stderr)[-4000:]
        return file.read_text(encoding="utf-8")
