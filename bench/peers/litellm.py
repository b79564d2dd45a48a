"""LiteLLM's proxy, from an environment of its own, in front of another peer."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from bench import environment
from bench.endpoint import LOOPBACK, Endpoint
from bench.peers import peer, server
from bench.peers.peer import Running

_ENVIRONMENT = {
    # Nothing outside this machine is asked.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOG": "ERROR",
    "DISABLE_ADMIN_UI": "True",
}


@dataclass(frozen=True, slots=True)
class LiteLlm:
    """The proxy in one process, as it is started by default, with a master key and without a database.

    Attributes:
        upstream: Where it sends everything.
    """

    upstream: Running
    name: str = "LiteLLM"
    counted: str = "LiteLLM's one process; not the server behind it"

    @contextlib.contextmanager
    def running(self, folder: Path) -> Iterator[Running]:
        """Start it."""
        config, key, port = folder / "litellm.yaml", f"sk-{secrets.token_hex(16)}", peer.free_port()
        target = self.upstream.endpoint
        route = {
            "model_name": target.model,
            "litellm_params": {
                "model": f"hosted_vllm/{target.model}",
                "api_base": target.base_url,
                "api_key": target.token,
            },
        }
        config.write_text(yaml.safe_dump({"model_list": [route]}), encoding="utf-8")
        command = [str(environment.prepare() / "litellm"), "--config", str(config)]
        command += ["--host", LOOPBACK, "--port", str(port)]
        variables = {**_ENVIRONMENT, "LITELLM_MASTER_KEY": key}
        endpoint = Endpoint(port, key, target.model)
        with server.serving(self.name, command, variables, endpoint, folder) as running:
            yield replace(running, behind=(self.upstream.session,))
