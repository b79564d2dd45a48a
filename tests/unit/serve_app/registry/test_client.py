"""What an ingress replica makes of the registry's answers, and of none."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ray.exceptions import RayTaskError
from ray.serve.exceptions import BackPressureError

from serve_app.auth.keys import NewKey
from serve_app.errors import Conflict, RegistryUnavailable
from serve_app.limits import Batch, LedgerUnavailable
from serve_app.registry import Registry, RegistryClient
from serve_app.registry.operations import CreateKey, ListKeys, Operation
from tests.unit.serve_app.registry.conftest import Line

NEW = NewKey(name="laptop", subject="zhangsan")
BATCH = Batch("replica", 1, 1000, ())


async def test_result_is_the_operations_and_a_fault_an_error(registry: Registry) -> None:
    client = RegistryClient(registry)
    issued = await client.run(CreateKey(NEW))
    assert issued.record.name == "laptop"
    with pytest.raises(Conflict, match="choose another name"):
        await client.run(CreateKey(NEW))
    assert await client.sync(BATCH) == ()


async def test_registry_that_is_being_restarted_is_unavailable(line: Line) -> None:
    line.is_cut = True
    with pytest.raises(RegistryUnavailable, match="try again") as away:
        await RegistryClient(line).run(ListKeys())
    assert away.value.headers == {"retry-after": "5"}
    with pytest.raises(LedgerUnavailable):
        await RegistryClient(line).sync(BATCH)


async def test_registry_that_says_nothing_is_not_waited_for_without_an_end(line: Line) -> None:
    line.held = asyncio.Event()
    with pytest.raises(RegistryUnavailable):
        await RegistryClient(line, timeout_s=0.05).run(ListKeys())


class Raises:
    """A registry's deployment that raises, as Serve's handle tells it."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def run(self, operation: Operation[Any]) -> Any:
        raise self._error

    async def grant(self, batch: Batch) -> Any:
        raise self._error


async def test_registry_with_too_much_to_do_is_unavailable() -> None:
    error = BackPressureError(num_queued_requests=1, max_queued_requests=1)
    with pytest.raises(RegistryUnavailable):
        await RegistryClient(Raises(error)).run(ListKeys())


async def test_fault_of_this_software_is_no_outage() -> None:
    error = RayTaskError("run", "Traceback ...", KeyError("nonsense"))
    with pytest.raises(RayTaskError):
        await RegistryClient(Raises(error)).run(ListKeys())
    with pytest.raises(LedgerUnavailable):
        await RegistryClient(Raises(error)).sync(BATCH)
