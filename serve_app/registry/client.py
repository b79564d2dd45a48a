"""The registry as an ingress replica asks it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException

from serve_app.errors import RegistryUnavailable
from serve_app.limits import Batch, Grant, LedgerUnavailable
from serve_app.registry.fault import RETRY_AFTER_S, Fault
from serve_app.registry.operations import Operation

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

TIMEOUT_S: Final = 10.0
"""How long an answer is waited for. Serve itself waits without an end for a replica that is being started."""

T = TypeVar("T")


class Methods(Protocol):
    """What the registry answers, wherever it runs."""

    async def run(self, operation: Operation[Any]) -> Any:
        """See ``Registry.run``."""

    async def grant(self, batch: Batch) -> tuple[Grant, ...] | Fault:
        """See ``Registry.grant``."""


class OverServe:
    """The registry's methods over its deployment's handle."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = handle

    async def run(self, operation: Operation[Any]) -> Any:
        """See ``Registry.run``."""
        return await self._handle.run.remote(operation)

    async def grant(self, batch: Batch) -> tuple[Grant, ...] | Fault:
        """See ``Registry.grant``."""
        answer: tuple[Grant, ...] | Fault = await self._handle.grant.remote(batch)
        return answer


class RegistryClient:
    """Asks the registry; it is the ledger of this replica's leases too.

    Args:
        registry: Over Serve, or the registry itself.
        timeout_s: How long an operation's result is waited for, seconds.
    """

    def __init__(self, registry: Methods, timeout_s: float = TIMEOUT_S) -> None:
        self._registry = registry
        self._timeout_s = timeout_s

    async def run(self, operation: Operation[T]) -> T:
        """An operation's result.

        Raises:
            ApiError: What is wrong with the operation, or that there is no answer.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                result = await self._registry.run(operation)
        except RayTaskError:
            raise  # it did answer: a fault of this software
        except (RayError, RayServeException, TimeoutError) as error:
            raise RegistryUnavailable(
                "The registry of keys, usage and limits does not answer; try again shortly.",
                headers={"retry-after": RETRY_AFTER_S},
            ) from error
        if isinstance(result, Fault):
            raise result.error()
        answer: T = result
        return answer

    async def sync(self, batch: Batch) -> tuple[Grant, ...]:
        """See ``Ledger``."""
        try:
            answer = await self._registry.grant(batch)
        except (RayError, RayServeException) as error:
            raise LedgerUnavailable("the registry does not answer") from error
        if isinstance(answer, Fault):
            raise LedgerUnavailable(answer.message)
        return answer
