"""The application on a Ray node: `serve run`, what Serve says of it, and what it says itself."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.local.ray_node import RayNode
from cluster.local.serve_file import ServeFile
from cluster.local.session import Session
from cluster.local.status import Deployment, Readiness, ServeStatus

SERVE_PATH = "/api/serve/applications/"
"""Of Ray's dashboard, where Serve tells about applications and takes their configurations."""

_REQUEST_BOUND_S = 5.0


@dataclass(frozen=True, slots=True)
class Application:
    """`serve run` and the addresses to ask.

    Attributes:
        process: `serve run`; asked to stop, it shuts the application down in order.
        log: What it has said.
        base_url: Where the application answers.
        status_url: Where Serve tells about it.
        status_token: Without which Serve tells nothing.
    """

    process: subprocess.Popen[bytes]
    log: Path
    base_url: str
    status_url: str
    status_token: str

    def readiness(self) -> Readiness | None:
        """What the application says of itself; None while it says nothing."""
        try:
            body = _get(f"{self.base_url}/ready", {})
            return Readiness(body["ready"] is True, {str(k): v is True for k, v in body["models"].items()})
        except (OSError, ValueError, LookupError, AttributeError, TypeError):
            return None

    def status(self) -> ServeStatus | None:
        """What Serve says of the application; None while it says nothing."""
        try:
            body = _get(self.status_url, {"authorization": f"Bearer {self.status_token}"})
            return parse_status(body)
        except (OSError, ValueError, LookupError, AttributeError, TypeError):
            return None


def start(session: Session, node: RayNode, file: ServeFile, env: Mapping[str, str]) -> Application:
    """Start `serve run`; it returns before the application is up."""
    log = session.logs / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ray.serve.scripts", "run", str(file.path), "--address", node.address],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Application(
        process,
        log,
        file.base_url,
        f"{node.dashboard_url}{SERVE_PATH}",
        session.token_file.read_text(encoding="ascii"),
    )


def parse_status(body: Mapping[str, Any]) -> ServeStatus | None:
    """Serve's report on all applications, of which a failed one comes first; None when there is none.

    Source: `ray.serve.schema.ServeInstanceDetails`, the answer of `GET /api/serve/applications/`.
    """
    statuses = [
        ServeStatus(
            str(details["status"]),
            str(details.get("message", "")),
            tuple(
                Deployment(str(name), str(part["status"]), str(part.get("message", "")))
                for name, part in details.get("deployments", {}).items()
            ),
        )
        for details in body["applications"].values()
    ]
    return min(statuses, key=lambda status: not status.failed, default=None)


def _get(url: str, headers: Mapping[str, str]) -> Any:
    """The JSON body of an answer, whatever its status."""
    request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310  (http, composed here)
    # No proxy: both addresses are this machine's, whatever http_proxy says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_REQUEST_BOUND_S) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as answer:
        with answer:
            return json.load(answer)
