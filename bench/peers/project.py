"""This project as its README starts it: `qwen-serve up`, HAProxy in front, a token for each request."""

from __future__ import annotations

import contextlib
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bench.endpoint import Endpoint
from bench.peers import peer
from bench.peers.peer import START_BOUND_S, PeerFailed, Running
from cluster.local import session
from serve_app.serve_file import keep_files_in

_TOKEN = re.compile(r"^API token +(\S+)$")
_STOP_BOUND_S = 60.0


@dataclass(frozen=True, slots=True)
class Project:
    """One model of a configuration, with everything around it as the configuration has it.

    Attributes:
        config: A Serve configuration of this project.
        model: The id of the model; the others of the configuration are left out.
        simulation: Overrides of a simulated engine's settings.
    """

    config: Path
    model: str
    simulation: Mapping[str, Any] = field(default_factory=dict)
    name: str = "qwen-serve"
    counted: str = "HAProxy, ingress, replica and all of its Ray; not the engine core, but a simulated engine"

    @contextlib.contextmanager
    def running(self, folder: Path) -> Iterator[Running]:
        """Start it."""
        path, port, state = self.write_config(folder), peer.free_port(), folder / "state"
        command = [
            *(sys.executable, "-m", "serve_app.cli", "up", "--config", str(path), "--port", str(port)),
            *("--state", str(state), "--timeout", f"{START_BOUND_S:.0f}"),
        ]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            endpoint = Endpoint(port, _await_token(process), self.model)
            current = session.recorded(state)
            assert current is not None
            yield Running(endpoint, current.id, shlex.join(command))
        finally:
            _stop(process, state)

    def write_config(self, folder: Path) -> Path:
        """Write the configuration with that model alone, its files in the given folder too."""
        document: dict[str, Any] = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        args = document["applications"][0]["args"]
        args["models"] = [model for model in args["models"] if model["id"] == self.model]
        args.pop("aliases", None)
        keep_files_in(folder, args)
        if self.simulation:
            args["models"][0]["simulation"].update(self.simulation)
        path = folder / "serve.yaml"
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        return path


def _await_token(process: subprocess.Popen[str]) -> str:
    """The token that the launcher prints once everything is ready; its own time-out bounds the wait."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        if match := _TOKEN.match(line.strip()):
            return match[1]
        said.append(line)
    raise PeerFailed(f"qwen-serve does not start:\n{''.join(said[-15:])}")


def _stop(process: subprocess.Popen[str], state: Path) -> None:
    """As Ctrl-C does; what does not end by it is ended one by one."""
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=_STOP_BOUND_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        session.clear(state)
