"""How the application is doing: in Serve's words, and in its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_FAILED = {"DEPLOY_FAILED", "UNHEALTHY"}


@dataclass(frozen=True, slots=True)
class Readiness:
    """The answer of `GET /ready`.

    Attributes:
        ready: Whether requests can be served.
        models: By id, whether the model is up.
    """

    ready: bool
    models: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment as Serve sees it."""

    name: str
    status: str
    message: str


@dataclass(frozen=True, slots=True)
class ServeStatus:
    """The application as Serve sees it.

    Attributes:
        status: Serve's word: DEPLOYING, RUNNING, DEPLOY_FAILED ...
        message: Serve's explanation, possibly a long traceback.
        deployments: Its parts.
    """

    status: str
    message: str
    deployments: tuple[Deployment, ...] = field(default=())

    @property
    def running(self) -> bool:
        """Whether all of it is as it was asked for."""
        return self.status == "RUNNING"

    @property
    def failed(self) -> bool:
        """Whether Serve has given up on it."""
        return self.status in _FAILED
