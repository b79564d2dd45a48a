"""What the launcher reads of a Serve configuration file; `qwen-serve check` and Ray validate the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.local.failure import LaunchFailed

_DEFAULT_HOST = "127.0.0.1"
_DEFAULT_PORT = 8000
ANY_ADDRESS = {"0.0.0.0", "::", ""}  # noqa: S104  (compared, not bound)
"""Addresses that mean all of a machine's."""

_LOCAL_ROOTS = {"", ".", "..", "~", "models"}
"""First parts of a source that can only be a folder; `models` is where the demonstration models lie."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model of the configuration, as far as a launcher cares.

    Attributes:
        id: The name that clients ask for.
        kind: text, vision-language, embedding or reranker.
        source: A folder, an address, or the id of a model on the hub.
        always: Whether it runs from the start on; others are loaded when asked for.
    """

    id: str
    kind: str
    source: str
    always: bool = True

    @property
    def needs_hub(self) -> bool:
        """Whether it comes from Hugging Face's hub."""
        return self.folder is None and ("://" not in self.source or self.source.startswith("hf://"))

    @property
    def folder(self) -> Path | None:
        """The checkpoint's folder; None for a model that lies elsewhere."""
        if "://" in self.source:
            return None
        path = Path(self.source).expanduser()
        return path if path.is_dir() or self.source.split("/")[0] in _LOCAL_ROOTS else None


@dataclass(frozen=True, slots=True)
class ServeFile:
    """A Serve configuration file.

    Attributes:
        path: Where it lies.
        host: The address that HTTP is bound to.
        port: The port that HTTP is bound to.
        models: In the file's order.
        ray_tls: Whether Ray itself is to serve with a certificate (`http_options.ssl_*`).
    """

    path: Path
    host: str
    port: int
    models: tuple[ServedModel, ...]
    ray_tls: bool = False

    @property
    def base_url(self) -> str:
        """Where clients on this machine reach the application, without a path."""
        host = _DEFAULT_HOST if self.host in ANY_ADDRESS else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def needs_hub(self) -> bool:
        """Whether a model has to come from the hub."""
        return any(model.needs_hub for model in self.models)

    def derived(self, overrides: Overrides, target: Path) -> ServeFile:
        """The same configuration with other settings, written to a file of its own."""
        text = yaml.safe_dump(overrides.applied(document(self.path)), sort_keys=False, allow_unicode=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"# Made from {self.path} by `qwen-serve up`.\n{text}", encoding="utf-8")
        return read(target)


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a session has in place of its file's own, and keeps while it runs.

    Attributes:
        port: Of HTTP.
        tls: The part `tls` of the application. HTTP without TLS is for this machine alone then.
    """

    port: int
    tls: Mapping[str, Any] | None = None

    def applied(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """The document of a configuration with them."""
        http = {**(content.get("http_options") or {}), "port": self.port}
        if self.tls is None:
            return {**content, "http_options": http}
        applications = [
            {**one, "args": {**one["args"], "tls": dict(self.tls)}}
            if "models" in (one.get("args") or {})
            else one
            for one in content["applications"]
        ]
        return {**content, "http_options": {**http, "host": _DEFAULT_HOST}, "applications": applications}


def read(path: Path) -> ServeFile:
    """Read a Serve configuration file.

    Raises:
        LaunchFailed: There is no such file, or it is not of that kind.
    """
    content = document(path)
    http = content.get("http_options") or {}
    try:
        arguments = [application.get("args") or {} for application in content["applications"]]
        models = tuple(
            ServedModel(
                str(model["id"]),
                str(model["kind"]),
                str(model["source"]),
                always=(model.get("autoscale") or {}).get("min_replicas", 1) != 0,
            )
            for argument in arguments
            for model in argument.get("models", ())
        )
        return ServeFile(
            path,
            str(http.get("host", _DEFAULT_HOST)),
            int(http.get("port", _DEFAULT_PORT)),
            models,
            ray_tls=http.get("ssl_certfile") is not None,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise LaunchFailed(
            f"{path} is not a configuration of this application; `qwen-serve check {path}` says where"
        ) from error


def document(path: Path) -> dict[str, Any]:
    """What the file says, as YAML has it.

    Raises:
        LaunchFailed: It cannot be read, or is no mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LaunchFailed(f"cannot read the configuration {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        line = f", line {place.line + 1}" if place else ""
        raise LaunchFailed(f"{path}{line} is not valid YAML: {getattr(error, 'problem', error)}") from error
    if not isinstance(content, dict):
        raise LaunchFailed(f"{path} is not a Serve configuration: it has no `applications`")
    return content
