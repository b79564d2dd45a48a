"""An application of Ray Serve on a Ray of its own, behind the proxy that Serve uses by default."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from bench.endpoint import LOOPBACK, Endpoint
from bench.peers import peer
from bench.peers.peer import PeerFailed, Running, await_answer
from cluster.local import application, haproxy, ray_node, session
from cluster.local.failure import LaunchFailed
from cluster.local.interrupt import Interrupt
from cluster.local.serve_file import ServeFile

_ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def serving(
    name: str, import_path: str, args: Mapping[str, Any], model: str, folder: Path
) -> Iterator[Running]:
    """Run an application until the end of the block, with Serve's own defaults.

    Args:
        name: Of the peer.
        import_path: Of the function that builds the application.
        args: That function's argument.
        model: The id that it answers to.
        folder: For the configuration, and for Ray's record and logs.

    Raises:
        PeerFailed: It does not answer in time.
    """
    port, path = peer.free_port(), folder / "serve.yaml"
    document = {
        "proxy_location": "HeadOnly",
        "http_options": {"host": LOOPBACK, "port": port},
        "applications": [
            {"name": "peer", "route_prefix": "/", "import_path": import_path, "args": dict(args)}
        ],
    }
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    try:
        with session.begin(folder, port) as current:
            # The application is imported by Ray's workers, from the checkout.
            base = {**os.environ, **haproxy.OFF, "PYTHONPATH": str(_ROOT)}
            env = ray_node.environment(current, base, offline=True)
            node = ray_node.start(current, env, Interrupt(), {})
            app = application.start(current, node, ServeFile(path, LOOPBACK, port, ()), env)
            endpoint = Endpoint(port, "none", model)
            await_answer(name, endpoint, lambda: app.process.poll() is None, app.log)
            yield Running(endpoint, current.id, f"serve run with {import_path}")
    except LaunchFailed as error:
        raise PeerFailed("\n".join([f"{name}: {error}", *error.details])) from error
