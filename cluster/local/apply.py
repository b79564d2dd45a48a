"""A changed configuration for the application that runs: Serve restarts only what it concerns."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from cluster.local import serve_file, session
from cluster.local.application import SERVE_PATH, parse_status
from cluster.local.failure import LaunchFailed
from cluster.local.serve_file import Overrides

_REQUEST_BOUND_S: Final = 30.0
_POLL_S: Final = 0.5


def apply(file: Path, state: Path, bound_s: float) -> None:
    """Hand a configuration to the running application, and wait until it is in force.

    Args:
        file: A Serve configuration, checked by the caller.
        state: The folder of the session.
        bound_s: How long that may take, seconds.

    Raises:
        LaunchFailed: Nothing runs, or Serve refuses the configuration, or cannot put it in force.
    """
    current = session.recorded(state)
    if current is None or not current.dashboard_file.is_file():
        raise LaunchFailed("nothing is running here; start it with `qwen-serve up`")
    # It may have been started on another port, or with TLS, which cannot change while it runs.
    content = Overrides(current.port, current.tls).applied(serve_file.document(file))
    url = current.dashboard_file.read_text(encoding="ascii") + SERVE_PATH
    token = current.token_file.read_text(encoding="ascii")
    _ask(url, token, content)
    deadline = time.monotonic() + bound_s
    while time.monotonic() < deadline:
        status = parse_status(_ask(url, token))
        if status is not None and status.failed:
            raise LaunchFailed(f"the configuration cannot be put in force: {status.message}")
        if status is not None and status.running:
            return
        time.sleep(_POLL_S)
    raise LaunchFailed(f"the configuration is not in force after {bound_s:.0f} s; `make stop` ends it")


def _ask(url: str, token: str, document: dict[str, Any] | None = None) -> Any:
    body = None if document is None else json.dumps(document).encode()
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    request = urllib.request.Request(  # noqa: S310  (http, composed here)
        url, data=body, headers=headers, method="GET" if body is None else "PUT"
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_REQUEST_BOUND_S) as answer:
            text = answer.read()
            return json.loads(text) if text else None
    except urllib.error.HTTPError as answer:
        with answer:
            why = answer.read().decode(errors="replace")[:500]
        raise LaunchFailed(f"Serve refuses the configuration: {why}") from answer
    except (OSError, ValueError) as error:
        raise LaunchFailed(f"Serve cannot be reached: {error}") from error
